"""What a person reads at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

from recsys.manifest import Manifest, Step
from recsys.prepare import instants
from recsys.texts import table


def text(manifest: Manifest) -> str:
    """The steps with their rows in and out, the splits, and where the dataset is."""
    splits: list[Sequence[str]] = [
        ("split", "rows", "fillers", "files", "steps", "targets", "unknown targets")
    ]
    splits += [
        (name, *(f"{count:,}" for count in (
            s.rows, s.fillers, len(s.files), s.steps, s.targets, s.unknown_targets)))
        for name, s in manifest.splits.items()
    ]  # fmt: skip
    lines = [
        step_table(manifest.steps),
        *(
            [table([("quarantine", "rows"), *manifest.quarantine.items()])]
            if manifest.quarantine
            else []
        ),
        table(splits),
        _times(manifest),
        f"{manifest.users:,} histories, {manifest.items:,} items, leakage certificate holds",
        f"dataset: {manifest.url}",
    ]
    return "\n\n".join(lines)


def _times(manifest: Manifest) -> str:
    first, last = instants.iso(manifest.first_event), instants.iso(manifest.last_event)
    if manifest.valid_start is None or manifest.test_start is None:
        kind = manifest.config["prepare"]["split"]
        return f"events from {first} to {last}, split by {kind}"
    valid, test = instants.iso(manifest.valid_start), instants.iso(manifest.test_start)
    return f"train from {first}, valid from {valid}, test from {test} to {last}"


def step_table(steps: Sequence[Step]) -> str:
    """What every step took in and let through."""
    rows: list[Sequence[str]] = [("step", "events in", "events out", "decision")]
    rows += [(s.name, f"{s.rows_in:,}", f"{s.rows_out:,}", s.decision) for s in steps]
    return table(rows)
