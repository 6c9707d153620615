"""Parts of the cases in which a system may do better or worse than on the whole.

A slice parts the targets of all cases by what they, their user or their time are. A case counts in
a part with those of its targets that belong there, and not at all where none does.

Shapes: N cases, P targets, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.evaluate.lists import Bools, Catalogue, Ints, Lists, Longs
from recsys.schemas import FIRST_ITEM, PADDING, UNKNOWN

_NAMED = ("event_type", "platform", "category", "day")
# The last length of each band of histories, in events.
HISTORY_BANDS = (5, 20, 100)
# Values of a slice with more than these are put together: categories as others, days as months.
_MOST_CATEGORIES = 12
_MOST_DAYS = 35
# The index of the categories that are put together.
_OTHER_CATEGORIES = FIRST_ITEM + _MOST_CATEGORIES
_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Slicing:
    """What slices depend on; each is made only where there is what it needs.

    Args:
        test_start: instant from which on a user with a first event is new, seconds; none where
            test does not start at an instant
        seconds: that the cases may span
        last: instant of the last event, seconds; none where it is not known
        is_tail_item: whether an item is not among the most frequent, which are the head [V]
        is_new_item: whether an item is new [V]
        event_types: from index FIRST_ITEM on
        platforms: likewise; none where the log has none. A case is where its target happens, which
            is where the list is asked for: whoever asks for one knows that, and it need not be
            where the user was last
        category: of each item [V]
        category_names: index to name
    """

    test_start: int | None = None
    seconds: int = 0
    last: int | None = None
    is_tail_item: Bools | None = None
    is_new_item: Bools | None = None
    event_types: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    category: Ints | None = None
    category_names: Mapping[int, str] = dataclasses.field(default_factory=dict)

    def values(self) -> dict[str, list[str]]:
        """What the slices that the data name can part cases into; none where one is not made."""
        found: dict[str, list[str]] = {"event_type": [], "platform": [], "category": [], "day": []}
        if len(self.event_types) > 1:
            found["event_type"] = list(self.event_types)
        if self.platforms:
            found["platform"] = ["unknown", *self.platforms]
        if self.category is not None:
            found["category"] = list(self._category_names().values())
        if self.last is not None:
            first, last = (
                instant // _SECONDS_PER_DAY for instant in (self.last - self.seconds, self.last)
            )
            found["day"] = list(dict.fromkeys(map(self._day_name, range(first, last + 1))))
        return found

    def parts(self, cases: pa.RecordBatch, lists: Lists) -> Iterator[tuple[str, str, Bools]]:
        """Slice, value and whether a target belongs to it [P]; only those that have targets."""
        for name, code_P, names in self._codes(cases, lists):
            for code in np.unique(code_P):
                if value := names.get(int(code)):
                    yield name, value, code_P == code

    def _codes(
        self, cases: pa.RecordBatch, lists: Lists
    ) -> Iterator[tuple[str, npt.NDArray[Any], Mapping[int, str]]]:
        """Slice, the code of each target's value [P], and what the codes are called."""

        def of_case(column: str) -> Longs:
            return np.asarray(cases.column(column).to_numpy())[lists.case]

        def of_target(column: str) -> Ints:
            return np.asarray(cases.column(column).flatten().to_numpy())

        target_P = lists.target
        is_item_P = target_P >= FIRST_ITEM
        if self.test_start is not None:
            yield "users", of_case("history_start") >= self.test_start, {0: "returning", 1: "new"}
        band_P = np.searchsorted(HISTORY_BANDS, of_case("history_events"))
        yield "history", band_P, dict(enumerate(history_names()))
        if self.is_tail_item is not None:
            band_P = np.where(lists.catalogue.is_known(target_P), self.is_tail_item[target_P], 2)
            yield "items", band_P, {0: "head", 1: "tail", 2: "unknown"}
        if self.is_new_item is not None:
            is_new_P = self.is_new_item[target_P]
            yield (
                "new_items",
                np.where(is_item_P, is_new_P, 2),
                {0: "older", 1: "new", 2: "unknown"},
            )
        if len(self.event_types) > 1:
            yield (
                "event_type",
                of_target("target_types"),
                dict(enumerate(self.event_types, FIRST_ITEM)),
            )
        if self.platforms:
            names = dict(enumerate(("unknown", *self.platforms), UNKNOWN))
            yield "platform", of_target("target_platforms"), names
        if self.category is not None:
            yield "category", *self._categories(target_P, self.category)
        yield "day", *self._days(of_case("timestamp"))

    def _categories(self, target_P: Ints, category_V: Ints) -> tuple[Ints, Mapping[int, str]]:
        # Numbered by falling frequency, where days were added by that of before.
        code_P = np.minimum(category_V[target_P], _OTHER_CATEGORIES)
        return np.where(target_P >= FIRST_ITEM, code_P, PADDING), self._category_names()

    def _category_names(self) -> dict[int, str]:
        known = self.category_names.items()
        names = {code: name for code, name in known if code < _OTHER_CATEGORIES}
        if len(known) > len(names):
            names[_OTHER_CATEGORIES] = "others"
        return names

    def _days(self, timestamp_P: Longs) -> tuple[Longs, Mapping[int, str]]:
        day_P = timestamp_P // _SECONDS_PER_DAY
        names = {int(day): self._day_name(int(day)) for day in np.unique(day_P)}
        codes = {name: code for code, name in reversed(names.items())}  # a month's first day seen
        code_P = np.array([codes[names[int(day)]] for day in day_P], np.int64)
        return code_P, {code: name for name, code in codes.items()}

    def _day_name(self, day: int) -> str:
        form = "%Y-%m-%d" if self.seconds <= _MOST_DAYS * _SECONDS_PER_DAY else "%Y-%m"
        instant = datetime.datetime.fromtimestamp(day * _SECONDS_PER_DAY, datetime.UTC)
        return instant.strftime(form)


def history_names() -> list[str]:
    """What the bands of histories are called.

    >>> history_names()
    ['up to 5', '6–20', '21–100', 'over 100']
    """
    middle = [f"{low + 1}–{high}" for low, high in itertools.pairwise(HISTORY_BANDS)]
    return [f"up to {HISTORY_BANDS[0]}", *middle, f"over {HISTORY_BANDS[-1]}"]


def value_order(name: str) -> Callable[[str], tuple[int, str]]:
    """A key that sorts a slice's values: bands as they rise, names by themselves."""
    fixed = [*history_names(), "returning", "new", "head", "tail", "unknown", "older"]

    def key(value: str) -> tuple[int, str]:
        place = fixed.index(value) if value in fixed and name not in _NAMED else 0
        return (len(fixed) if value == "others" else place), value

    return key


def is_tail_item(catalogue: Catalogue) -> Bools:
    """Whether an item is not among the fewest that have half of the events of train [V].

    >>> is_tail_item(Catalogue(np.array([0, 0, 1, 5, 3, 1])))[2:].tolist()
    [True, False, True, True]
    """
    counts = np.sort(catalogue.train_count[FIRST_ITEM:])[::-1]
    head = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2)) + 1
    return np.asarray(catalogue.frequency_rank >= head)


def only(lists: Lists, is_kept_P: Bools) -> tuple[Lists, npt.NDArray[np.intp]]:
    """The cases with some of their targets, and the place of each that has one [N]."""
    targets_N = np.bincount(lists.case[is_kept_P], minlength=len(lists.targets))
    place = np.nonzero(targets_N)[0]
    number_N = np.cumsum(targets_N > 0) - 1
    kept = dataclasses.replace(
        lists,
        rank=lists.rank[is_kept_P],
        case=number_N[lists.case[is_kept_P]],
        target=lists.target[is_kept_P],
        targets=targets_N[place],
        recommended=lists.recommended[place],
        is_new=lists.is_new[place],
    )
    return kept, place
