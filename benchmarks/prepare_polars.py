"""The steps of jobs/prepare.py on benchmarks/logs.py, by hand in Polars, for one machine.

python benchmarks/prepare_polars.py LOG OUTPUT

What benchmarks/prepare.py asks for: mapping, validation and quarantine, duplicates, bots, sessions
by gap, minimum support, split by time, vocabulary, item statistics, sequences in groups of one
width, histories, what was before them, and the checks for leakage.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

DAY_US = 86_400_000_000
EVENT = ("user_id", "item_id", "event_type", "timestamp", "price")
SPLITS = ("train", "valid", "test")
_GROUP_ROWS = 2048


@dataclass(frozen=True)
class Settings:
    """Those of benchmarks/prepare.py."""

    bot_events_per_day: int
    min_item_events: int = 5
    min_user_events: int = 3
    gap_us: int = 30 * 60 * 1_000_000
    valid_days: int = 7
    test_days: int = 7
    vocabulary_min_count: int = 5
    length: int = 20
    target_events: int = 10
    earliest_us: int = 631_152_000_000_000  # 1990


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--bot_events_per_day", type=int, required=True)
    options = parser.parse_args()
    counts = prepare(options.log, options.output, Settings(options.bot_events_per_day))
    print(json.dumps(counts))


def prepare(log: Path, output: Path, settings: Settings) -> dict[str, Any]:
    """Writes the tables below output; returns what was counted."""
    output.mkdir(parents=True)
    raw = pl.read_parquet(log / "*.parquet")
    sound, faults = checked(raw, output, settings)
    events = sound.unique(subset=EVENT, keep="any", maintain_order=False)
    single = len(events)
    events, bots = without_bots(events, settings)
    people = len(events)
    last = int(events["timestamp"].max())  # type: ignore[arg-type]
    test_start = last - settings.test_days * DAY_US
    valid_start = test_start - settings.valid_days * DAY_US
    events = sessions(events, settings.gap_us, valid_start, test_start)
    events = supported(events, valid_start, settings)
    counts: dict[str, Any] = {
        "rows": len(raw), "quarantined": faults, "checked": len(sound), "single": single,
        "bots": bots, "people": people, "supported": len(events),
    }  # fmt: skip
    vocabulary = vocabulary_of(events, settings)
    vocabulary.write_parquet(output / "vocabulary.parquet")
    types = event_types(events)
    events = events.join(vocabulary.select("item_id", "item_index"), on="item_id", how="left",
                         maintain_order="left")  # fmt: skip
    index = {name: number for number, name in enumerate(types, start=2)}
    events = events.with_columns(
        pl.col("item_index").fill_null(1),
        pl.col("event_type").replace_strict(index, default=1, return_dtype=pl.Int32).alias("type"),
    )
    statistics(events, vocabulary, types).write_parquet(output / "items.parquet")
    sequences = Sequences(events, settings)
    counts |= {"items": len(vocabulary), "event_types": types, **sequences.write(output)}
    again = vocabulary_of(events, settings)
    if not again.equals(vocabulary):
        raise ValueError("the vocabulary is not that of train")
    (output / "counts.json").write_text(json.dumps(counts))
    return counts


def checked(raw: pl.DataFrame, output: Path, settings: Settings) -> tuple[pl.DataFrame, int]:
    """The events with their times in microseconds, and how many rows went to quarantine."""
    now = pl.lit(np.datetime64("now")).dt.epoch("us")
    micros, price = pl.col("timestamp") * 1000, pl.col("price")
    reasons = [
        (_blank("user_id"), "user_id: null"),
        (_blank("item_id"), "item_id: null"),
        (_blank("event_type"), "event_type: null"),
        (pl.col("timestamp").is_null(), "timestamp: null"),
        (micros < settings.earliest_us, "timestamp: before 1990-01-01T00:00:00Z"),
        (micros > now, "timestamp: after now"),
        (price.is_nan() | price.is_infinite(), "price: not a number"),
        (price < 0, "price: negative"),
    ]
    reason = pl.lit(None, pl.String)
    for fault, words in reversed(reasons):
        reason = pl.when(fault).then(pl.lit(words)).otherwise(reason)
    marked = raw.with_columns(reason.alias("reason"))
    at_fault = marked.filter(pl.col("reason").is_not_null())
    row = pl.struct(EVENT).struct.json_encode().alias("row")
    at_fault.select("reason", row).write_parquet(output / "quarantine.parquet")
    sound = marked.filter(pl.col("reason").is_null()).select(EVENT).with_columns(micros)
    return sound, len(at_fault)


def _blank(name: str) -> pl.Expr:
    return pl.col(name).is_null() | (pl.col(name).str.strip_chars(" ") == "")


def without_bots(events: pl.DataFrame, settings: Settings) -> tuple[pl.DataFrame, int]:
    day = (pl.col("timestamp") // DAY_US).alias("day")
    per_day = events.group_by("user_id", day).len()
    bots = per_day.filter(pl.col("len") > settings.bot_events_per_day).select("user_id").unique()
    return events.join(bots, on="user_id", how="anti"), len(bots)


def supported(events: pl.DataFrame, end: int, settings: Settings) -> pl.DataFrame:
    """Items and users with too few events of train lose these, until nothing changes."""
    stays = (events["timestamp"] >= end).to_numpy(writable=True)
    train = events.with_row_index("row").filter(pl.col("timestamp") < end)
    train = train.select("row", "user_id", "item_id")
    while True:
        before = len(train)
        for name, least in (
            ("user_id", settings.min_user_events), ("item_id", settings.min_item_events)
        ):  # fmt: skip
            enough = train.group_by(name).len().filter(pl.col("len") >= least).select(name)
            train = train.join(enough, on=name, how="semi")
        if len(train) == before:
            stays[train["row"].to_numpy()] = True
            return events.filter(pl.Series(stays))


def sessions(events: pl.DataFrame, gap: int, valid_start: int, test_start: int) -> pl.DataFrame:
    """In order, with session_id and the split of the session's start (0, 1, 2).

    What a session goes on with behind its split's end is of none (3).
    """
    events = events.sort("user_id", "timestamp", "item_id", "event_type", "price")
    user, time = pl.col("user_id"), pl.col("timestamp")
    new_user = (user != user.shift()).fill_null(True)
    opens = new_user | (time - time.shift() > gap)
    events = events.with_columns(opens.alias("opens"))
    number = pl.col("opens").cum_sum().over("user_id") - 1
    events = events.with_columns(
        pl.concat_str(user, pl.lit("-"), number.cast(pl.String)).alias("session_id"),
        pl.col("opens").cum_sum().alias("session"),
    )
    start = time.first().over("session")
    split, own = (
        (clock >= valid_start).cast(pl.Int32) + (clock >= test_start).cast(pl.Int32)
        for clock in (start, time)
    )
    return events.with_columns(pl.when(own == split).then(split).otherwise(3).alias("split"))


def vocabulary_of(events: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    train = events.filter(pl.col("split") == 0)
    counted = train.group_by("item_id").len("train_count")
    known = counted.filter(pl.col("train_count") >= settings.vocabulary_min_count)
    in_order = known.sort([-pl.col("train_count").cast(pl.Int64), "item_id"])
    return in_order.with_row_index("item_index", offset=2).with_columns(
        pl.col("item_index").cast(pl.Int32), pl.col("train_count").cast(pl.Int64)
    )


def event_types(events: pl.DataFrame) -> list[str]:
    counted = events.filter(pl.col("split") == 0).group_by("event_type").len()
    return counted.sort([-pl.col("len").cast(pl.Int64), "event_type"])["event_type"].to_list()


def statistics(events: pl.DataFrame, vocabulary: pl.DataFrame, types: list[str]) -> pl.DataFrame:
    """Of each item: how popular it is, how it converts, how recent; all but shares normalized.

    Nothing is known of its category, so that its price has no rank.
    """
    train = events.filter(pl.col("split") == 0)
    shares = [
        (((pl.col("event_type") == name).sum() + 1) / (pl.len() + len(types))).alias(name)
        for name in types
    ]
    own = train.group_by("item_id").agg(
        pl.len().log1p().alias("popularity"), *shares,
        (train["timestamp"].max() - pl.col("timestamp").max()).alias("recency"),
        pl.col("price").median(),
    ).with_columns((pl.col("recency") / DAY_US).log1p())  # fmt: skip
    items = vocabulary.join(own, on="item_id", how="left", maintain_order="left")
    return items.with_columns(
        ((pl.col(name) - pl.col(name).mean()) / pl.col(name).std(ddof=0)).clip(-5, 5)
        for name in ("popularity", "recency")
    )


class Sequences:
    """Rows of fixed width: a session's targets in blocks, each with what came before.

    Args:
        events: of sessions(), with item_index and type
        settings: length and target_events of a row
    """

    def __init__(self, events: pl.DataFrame, settings: Settings) -> None:
        self.settings = settings
        session = events["session"].to_numpy()
        time = events["timestamp"].to_numpy()
        new_session = np.diff(session, prepend=0) != 0
        new_step = new_session | (np.diff(time, prepend=-1) != 0)
        step = np.cumsum(new_step) - 1
        item_id = events["item_id"]
        same_item = (item_id == item_id.shift()).fill_null(False).to_numpy()
        self.first = np.flatnonzero(new_session)  # event of each session
        self.end = np.append(self.first[1:], len(session))
        step_time = time[new_step]
        gap = np.diff(step_time // 1_000_000, prepend=0)
        gap[new_session[new_step]] = 0
        self.columns = {
            "item": events["item_index"].to_numpy(),
            "event_type": events["type"].to_numpy(),
            "gap_seconds": gap[step],
            "session_start": (step == np.repeat(step[self.first], self.end - self.first)),
            "step": step,
            "timestamp": time // 1_000_000,
            "target": new_step | ~same_item,
            "purchase": np.zeros(len(time), np.int32),  # no types buy here: nothing is labelled
        }
        self.names = events["session_id"].to_numpy()[self.first]
        self.columns["split"] = split = events["split"].to_numpy()
        self.split = split[self.first]
        # Behind it a session is of no split.
        self.stop = self.first + np.add.reduceat((split != 3).astype(np.int64), self.first)
        self.session_step = step[self.first]
        self.last_step = step[self.stop - 1]

    def blocks(self) -> tuple[np.ndarray, ...]:
        """Session, context, first target and end of each row, the last three as events."""
        step, most = self.columns["step"], self.settings.target_events
        several = self.last_step > self.session_step
        step_event = np.append(np.flatnonzero(np.diff(step, prepend=-1)), len(step))
        begin = step_event[self.session_step + 1]
        whole = several & (self.stop - begin <= most) & (self.stop - self.first <= 2 * most)
        session = np.flatnonzero(whole)
        rows: list[tuple[np.ndarray, ...]] = [
            (session, self.first[session], begin[session], self.stop[session])
        ]
        for place in np.flatnonzero(several & ~whole):
            rows.append(self._long(place, step_event))
        return tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))

    def _long(self, place: int, step_event: np.ndarray) -> tuple[np.ndarray, ...]:
        found, length = [], self.settings.length
        first, last = self.session_step[place] + 1, self.last_step[place]
        while first <= last:
            end = first
            while (
                end < last
                and step_event[end + 2] - step_event[first] <= self.settings.target_events
                and step_event[end + 2] - step_event[first - 1] <= length
            ):
                end += 1
            context = np.searchsorted(step_event, step_event[end + 1] - length)
            context = max(context, self.session_step[place])
            found.append((place, step_event[context], step_event[first], step_event[end + 1]))
            first = end + 1
        return tuple(np.array(column) for column in zip(*found, strict=True))

    def write(self, output: Path) -> dict[str, Any]:
        """Writes the splits and the histories, rows of like length together; counts targets."""
        session, context, target, end = self.blocks()
        counts: dict[str, Any] = {}
        for number, split in enumerate(SPLITS):
            of = np.flatnonzero(self.split[session] == number)
            of = of[np.argsort((end - context)[of], kind="stable")]
            arrays, size = self._arrays(context[of], end[of], target[of])
            del arrays["split"]
            _write(output / f"{split}.parquet", self.names[session[of]], arrays, size, fill=True)
            counts[split] = {"rows": len(of), "targets": int(arrays["target"].sum())}
            latest = int(arrays["timestamp"].max()) if len(of) else 0
            counts[split]["last_time"] = latest
        step_event = np.flatnonzero(np.diff(self.columns["step"], prepend=-1))
        begin = np.maximum(self.first, self.end - self.settings.length)
        begin = step_event[np.searchsorted(step_event, begin)]
        long = np.flatnonzero(begin > self.first)
        for name, own, start, stop in (
            ("histories", slice(None), begin, self.end),
            ("earlier", long, self.first[long], begin[long]),
        ):
            arrays, size = self._arrays(start, stop, stop)
            del arrays["target"], arrays["purchase"]
            _write(output / f"{name}.parquet", self.names[own], arrays, size, fill=False)
        return counts | {"histories": len(self.names)}

    def _arrays(
        self, begin: np.ndarray, end: np.ndarray, target: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The entries of all rows one after another, and how many each row has."""
        size = end - begin
        event = np.repeat(begin - np.cumsum(size) + size, size) + np.arange(size.sum())
        arrays = {}
        for name, values in self.columns.items():
            flat = values[event]
            if name == "target":
                flat = flat & (event >= np.repeat(target, size))
            if name == "step":
                flat = flat - np.repeat(values[begin], size)
            arrays[name] = flat.astype(np.int64 if name == "timestamp" else np.int32)
        return arrays, size


def _write(
    path: Path, names: np.ndarray, arrays: dict[str, np.ndarray], size: np.ndarray, fill: bool
) -> None:
    """In groups of rows, filled up to the longest row of the group where that is asked for."""
    ends = np.append(0, np.cumsum(size))
    writer = None
    for start in range(0, max(len(names), 1), _GROUP_ROWS):
        here = slice(start, start + _GROUP_ROWS)
        own = size[here]
        entries = slice(ends[start], ends[start] + own.sum())
        width = np.full_like(own, own.max(initial=1)) if fill else own
        offsets = pa.array(np.append(0, np.cumsum(width)), pa.int32())
        is_entry = np.arange(width.max(initial=0)) < own[:, None]
        columns = {}
        for name, values in arrays.items():
            flat = values[entries]
            if fill:
                wide = np.full(is_entry.shape, -1 if name == "step" else 0, flat.dtype)
                wide[is_entry] = flat
                flat = wide.ravel()
            columns[name] = pa.ListArray.from_arrays(offsets, pa.array(flat))
        table = pa.table({"user_id": pa.array(names[here], pa.string()), **columns})
        writer = writer or pq.ParquetWriter(path, table.schema, compression="snappy")
        writer.write_table(table)
    if writer is not None:
        writer.close()


if __name__ == "__main__":
    main()
