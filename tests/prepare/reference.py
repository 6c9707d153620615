"""What prepare does with histories, in plain Python: slow, and easy to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from recsys.prepare.rows import COUNTS, EARLIER, HISTORY, Cutting
from recsys.prepare.sessions import Rules
from recsys.schemas import BOUGHT, FIRST_ITEM, NO_LABEL, NO_SPLIT, NOT_BOUGHT, SPLITS

MICROS = 1_000_000
DAY = 86_400 * MICROS


def sessions(events: Sequence[tuple[str, int]], rules: Rules) -> list[tuple[str, int]]:
    """Name and start of each event's session, of users and times in order."""
    found: list[tuple[str, int]] = []
    number = start = count = 0
    for place, (user, time) in enumerate(events):
        before, last = events[place - 1] if place else (None, 0)
        day = [(t - (rules.day_start or 0)) // DAY for t in (last, time)]
        full = rules.max_events is not None and count >= rules.max_events and time > last
        if user != before:
            number, start, count = 0, time, 0
        elif time - last > rules.gap or full or (rules.day_start is not None and day[0] < day[1]):
            number, start, count = number + 1, time, 0
        count += 1
        found.append((f"{user}-{number}", start))
    return found


@dataclass(frozen=True)
class Event:
    """One event; `order` stands for the item, equal for lines of one item at one instant."""

    user: str
    time: int
    order: int
    item: int = 2
    kind: int = 2
    wanted: bool = True
    session: str | None = None
    part: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        return (
            self.user,
            self.time,
            self.order,
            self.item,
            not self.wanted,
            self.kind,
            self.session,
        )


@dataclass
class _Step:
    time: int
    events: list[Event]
    split: int = 0
    number: int = 0
    gap: int = 0
    opens: list[bool] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


def rows(events: list[Event], cutting: Cutting) -> list[dict[str, object]]:
    """All rows of all subjects, in no order that matters."""
    result = []
    for subject, own in sorted(_subjects(events).items()):
        steps, crowd, strays = _steps(own, cutting)
        result += _blocks(subject, steps, cutting)
        counts = [
            sum(s.split == i and s.number > 0 and any(s.targets) for s in steps) for i in range(3)
        ]
        latest = _latest(steps, len(steps) - 1, cutting)
        counts = [len(crowd), strays, *counts]
        result.append(_row(HISTORY, subject, subject, latest, frozenset(), counts))
        before = steps[: len(steps) - len(latest)]
        earlier = [
            (step, event, step.opens[i]) for step in before for i, event in enumerate(step.events)
        ]
        earlier += [(steps[number], event, steps[number].opens[0]) for number, event in crowd]
        if earlier:
            events = sorted(
                (
                    step.number,
                    event.item,
                    event.kind,
                    step.gap,
                    int(opens),
                    step.time // MICROS,
                    step.split,
                )
                for step, event, opens in earlier
            )
            result.append({"kind": EARLIER, "sequence_id": subject, "events": events})
    return result


def _subjects(events: list[Event]) -> dict[str, list[Event]]:
    in_order = sorted(events, key=lambda event: event.key)
    return {user: list(own) for user, own in groupby(in_order, key=lambda event: event.user)}


def _steps(
    events: list[Event], cutting: Cutting
) -> tuple[list[_Step], list[tuple[int, Event]], int]:
    """Steps, what they have no room for with the step's number, and how many events are astray."""
    steps, cut, strays, seen_sessions = [], [], 0, set()
    for number, (time, own) in enumerate(groupby(events, key=lambda event: event.time)):
        together = list(own)
        wanted, others, items = [], [], set()
        for event in together:
            is_target = event.wanted and event.order not in items
            (wanted if is_target else others).append(event)
            items.add(event.order)
        kept = sorted((wanted + others)[: cutting.limits.step_events], key=together.index)
        cut += [(number, event) for event in (wanted + others)[cutting.limits.step_events :]]
        step = _Step(time, kept, number=number)
        step.split = kept[0].part
        previous = steps[-1].time if steps else time
        step.gap = time // MICROS - previous // MICROS
        items = set()
        for event in kept:
            step.targets.append(int(event.wanted and event.order not in items))
            items.add(event.order)
            if number == 0:
                step.opens.append(True)
            elif cutting.by_session:
                step.opens.append(False)
            elif cutting.sessions is None:
                step.opens.append(event.session not in seen_sessions)
            else:
                step.opens.append(time - previous > cutting.sessions.gap)
        seen_sessions |= {event.session for event in kept}
        steps.append(step)
    if cutting.whole_sessions and not cutting.by_session:
        strays = _part_whole(steps, cutting)
    for step in steps:
        step.labels = [_label(event.item, step, steps, cutting) for event in step.events]
    return steps, cut, strays


def _part_whole(steps: list[_Step], cutting: Cutting) -> int:
    """What a session goes on with in another split than that of its start is of none; how much."""
    current, started, strays = 0, {}, 0
    for step in steps:
        own = {step.split}
        if cutting.sessions is not None:
            current = step.split if any(step.opens) else current
            own.add(current)
        else:
            own |= {started.setdefault(event.session, step.split) for event in step.events}
        if len(own) > 1:
            strays += len(step.events) * (step.split != NO_SPLIT)
            step.split = NO_SPLIT
    return strays


def _label(item: int, step: _Step, steps: list[_Step], cutting: Cutting) -> int:
    """What is known of an item's purchase at a step or later in the session."""
    purchases = cutting.purchases
    if purchases is None or item < FIRST_ITEM:
        return NO_LABEL
    if all(event.kind in purchases.types for event in step.events if event.item == item):
        return NO_LABEL
    later = []
    for other in steps[step.number + 1 :]:
        if any(other.opens):
            is_over = True
            break
        later.append(other)
    else:
        end = (later or [step])[-1].time
        is_over = purchases.pauses is None or purchases.log_end - end > purchases.pauses.gap
    too_far = sum(len(other.events) for other in later) > cutting.limits.length
    if not is_over or too_far or (later or [step])[-1].split != step.split:
        return NO_LABEL
    rest = [event for other in [step, *later] for event in other.events]
    is_bought = any(e.item == item and e.kind in purchases.types for e in rest)
    return BOUGHT if is_bought else NOT_BOUGHT


def _blocks(subject: str, steps: list[_Step], cutting: Cutting) -> list[dict[str, object]]:
    found, i = [], 1
    while i < len(steps):
        if not any(steps[i].targets) or steps[i].split >= len(SPLITS):
            i += 1
            continue
        end, events = i, len(steps[i].events)
        while end + 1 < len(steps) and steps[end + 1].split == steps[i].split:
            more = events + len(steps[end + 1].events)
            if more > cutting.limits.target_events:
                break
            if len(steps[i - 1].events) + more > cutting.limits.length:
                break
            end, events = end + 1, more
        last = max(s for s in range(i, end + 1) if any(steps[s].targets))
        row_steps = _latest(steps, last, cutting)
        asked = frozenset(range(i, last + 1))
        name, nothing = f"{subject}#{i}", [0] * len(COUNTS)
        found.append(_row(SPLITS[steps[i].split], name, subject, row_steps, asked, nothing))
        i = end + 1
    return found


def _latest(steps: list[_Step], last: int, cutting: Cutting) -> list[_Step]:
    chosen: list[_Step] = []
    for step in reversed(steps[: last + 1]):
        if sum(len(s.events) for s in chosen) + len(step.events) > cutting.limits.length:
            break
        chosen.insert(0, step)
    return chosen


def _row(
    kind: str, name: str, user: str, steps: list[_Step], asked: frozenset[int], counts: list[int]
) -> dict[str, object]:
    pairs = [(place, step, event, i) for place, step in enumerate(steps)
             for i, event in enumerate(step.events)]  # fmt: skip
    return {
        "kind": kind,
        "sequence_id": name,
        "user_id": user,
        "length": len(pairs),
        "steps": len(steps),
        "most_step_events": max(len(step.events) for step in steps),
        "first_step": steps[0].number,
        "item": [event.item for _, _, event, _ in pairs],
        "event_type": [event.kind for _, _, event, _ in pairs],
        "gap_seconds": [step.gap for _, step, _, _ in pairs],
        "session_start": [int(step.opens[i]) for _, step, _, i in pairs],
        "step": [place for place, _, _, _ in pairs],
        "timestamp": [step.time // MICROS for _, step, _, _ in pairs],
        "target": [step.targets[i] if step.number in asked else 0 for _, step, _, i in pairs],
        "purchase": [
            step.labels[i] if step.number in asked and step.targets[i] else NO_LABEL
            for _, step, _, i in pairs
        ],
        "split": [step.split for _, step, _, _ in pairs],
        **dict(zip(COUNTS, counts, strict=True)),
    }
