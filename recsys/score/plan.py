"""All that a worker must know to make lists; built on the driver, sent with the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from recsys import files, tiles
from recsys.config import Score
from recsys.schemas import FIRST_ITEM, PAIRS, USER_VECTORS, recommendations
from recsys.score.arrange import Lists
from recsys.score.catalogue import Catalogue
from recsys.score.limits import Limits, most_possible

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

# The kind of what is no list: the vectors of those who get lists.
VECTORS = "user_vectors"
# The group of whoever has none.
EVERYBODY = ""
# So many times the popular items of a list are looked at together.
_GROWTH = 4
# As many lists could be made of a group's most popular items; what comes after them is not kept.
_LISTS_OF_A_GROUP = 10


@dataclass(frozen=True)
class Popular:
    """What is popular in a group, best first.

    Args:
        item: indexes in the vocabulary
        score: log(1 + the item's events in the group)
    """

    item: Ints
    score: Floats

    @staticmethod
    def counted(item: Ints, count: npt.NDArray[np.int64]) -> Popular:
        """Of items in their order, each with its events in the group."""
        return Popular(item, np.log1p(count).astype(np.float32))


@dataclass(frozen=True)
class Plan:
    """How lists of a kind are made.

    Args:
        kind: home, next, similar, pairs, or VECTORS
        export: URL of the SavedModel
        encoder: URL of that of what reads histories
        model_version: of the model
        inputs: the arrays of a history that it reads
        catalogue: the items
        score: the configuration
        known_items: from the vocabulary's first on, those that the model can tell apart
        of_sessions: whether histories are of sessions, not of users
        exclude_history: leave out the items that the history holds
        bias: what each item scores with everybody, beyond what the model says [V]
        popular: group to what is popular there and may be recommended, best first; EVERYBODY is
            always one
        fallback: group to the list of those without a history
    """

    kind: str
    export: str
    encoder: str
    model_version: str
    inputs: tuple[str, ...]
    catalogue: Catalogue
    score: Score
    known_items: int
    of_sessions: bool
    exclude_history: bool
    bias: Floats
    popular: dict[str, Popular] = field(default_factory=dict)
    fallback: dict[str, Lists] = field(default_factory=dict)

    def of(self, kind: str) -> Plan:
        """The same for lists of another kind."""
        return replace(self, kind=kind)

    @property
    def schema(self) -> dict[str, str]:
        """The columns of the lists."""
        if self.kind == VECTORS:
            return USER_VECTORS
        if self.kind == "pairs":
            subject = "session_id" if self.of_sessions else "user_id"
            return {subject if name == "user_id" else name: kind for name, kind in PAIRS.items()}
        has_reason = self.score.reason and self.kind != "similar"
        return recommendations(self.kind, self.score.layout, has_reason)

    @property
    def has_arrays(self) -> bool:
        """Whether a list is one row."""
        return self.score.layout == "arrays" and self.is_lists

    @property
    def is_lists(self) -> bool:
        """Whether subjects get lists of items."""
        return self.kind not in ("pairs", VECTORS)

    @property
    def item_without_row(self) -> int | None:
        """The item whose list is empty, and so in no row where a row is a recommendation.

        Of similar items that is the only one that may be recommended; whoever has no list of the
        model's has a fallback.
        """
        allowed = self.catalogue.allowed
        is_alone = self.kind == "similar" and len(allowed) == 1 and not self.has_arrays
        return int(allowed[0]) if is_alone else None

    @cached_property
    def fingerprint(self) -> str:
        """Stands for all that the lists depend on, beside who gets them."""
        return files.fingerprint(
            [
                *(self.kind, self.model_version, self.catalogue.fingerprint()),
                *(repr(self.score), repr(self.exclude_history), self.bias.tobytes()),
                *(
                    part
                    for group, best in self.popular.items()
                    for part in (group, best.item.tobytes(), best.score.tobytes())
                ),
            ]
        )

    @cached_property
    def list_length(self) -> int:
        """Of a list that is as full as the rules let it be."""
        rules = self.score.rules
        possible = most_possible(self.catalogue.allowed, self.catalogue.values, rules.at_most)
        return min(self.score.top_k, possible)

    def lists(self, users: int) -> Lists:
        """Empty lists."""
        return Lists(users, self.list_length)

    @property
    def block_rows(self) -> int:
        """Rows of the arrays of a block of users."""
        return tiles.whole(self.score.batch_users)

    @property
    def limits(self) -> Limits:
        """Of every list."""
        return Limits(self.catalogue.values, self.score.rules.at_most)

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays of a history that lists are made of."""
        rules = self.score.rules
        is_timed = bool(rules.own_items) and rules.half_life_days is not None
        return tuple(dict.fromkeys((*self.inputs, *(["timestamp"] if is_timed else []))))

    def is_known(self, item: Ints) -> npt.NDArray[np.bool_]:
        """Which of some items the model can tell from others."""
        return np.asarray((item >= FIRST_ITEM) & (item < FIRST_ITEM + self.known_items))

    @property
    def uses_neighbours(self) -> bool:
        """Whether an index takes the place of the exact search."""
        above = self.score.neighbours.above_items
        return self.is_lists and above is not None and len(self.catalogue.allowed) > above

    def exact(self) -> Plan:
        """The same with the exact search."""
        neighbours = replace(self.score.neighbours, above_items=None)
        return replace(self, score=replace(self.score, neighbours=neighbours))

    def of_model_alone(self) -> Plan:
        """The same without a share for new and little sold items."""
        rules = replace(self.score.rules, explore_share=0.0)
        return replace(self, score=replace(self.score, rules=rules))

    @cached_property
    def explored(self) -> Ints:
        """The items that new and little sold items' share of a list is taken from."""
        allowed = self.catalogue.allowed
        is_rare = self.catalogue.train_count[allowed] <= self.score.rules.explore_max_train_count
        return allowed[is_rare]

    def explore_places(self, names: pa.StringArray, users: int) -> npt.NDArray[np.int64]:
        """The places of each user's list that they get [B].

        A share of 0.03 of ten places is a place for three in ten users: those whose hash says so,
        whatever the partitions; another model chooses others.

        Args:
            names: of the users, who may be fewer than the rows
            users: B
        """
        places = self.score.rules.explore_share * self.list_length
        if not places:
            return np.zeros(users, np.int64)
        key = self.model_version.ljust(16)[:16]
        hashes = pd.util.hash_array(names.to_numpy(zero_copy_only=False), hash_key=key)
        drawn_B = np.zeros(users)
        drawn_B[: len(names)] = hashes / 2.0**64
        return np.asarray(np.floor(places + drawn_B), np.int64)

    @property
    def popular_items(self) -> int:
        """How many items of a group are kept, so that memory is bounded by the groups alone."""
        return _LISTS_OF_A_GROUP * self.list_length

    def with_fallback(self, popular: Mapping[str, Popular]) -> Plan:
        """The same with lists of popular items.

        Args:
            popular: group to what is popular there and may be recommended; what is popular with
                all fills up the list
        """
        allowed, log_count = self.catalogue.allowed, self.catalogue.log_count
        by_count = allowed[np.argsort(-self.catalogue.train_count[allowed], kind="stable")]
        everybody = Popular(by_count, log_count[by_count])
        result = replace(self, popular={**popular, EVERYBODY: everybody})
        none = np.zeros(0, np.int32)
        lists = {group: result.fallback_without(group, none) for group in result.popular}
        return replace(result, fallback=lists)

    def fallback_without(self, group: str, left_out: Ints) -> Lists:
        """What is popular in a group, then, with a score of 0, with all; without some items."""
        lists, limits = self.lists(1), self.limits
        at_once = _GROWTH * lists.length + len(left_out)
        for name in dict.fromkeys((group, EVERYBODY)):
            best = self.popular[name]
            score = best.score if name == group else np.zeros_like(best.score)
            item = best.item
            while len(item):
                kept = ~np.isin(item[:at_once], left_out)
                here = (score[:at_once][kept][None], item[:at_once][kept][None])
                limits.fill(lists, *here, "fallback")
                if lists.size[0] == lists.length:
                    return lists
                # What is full of a value would go through all that has it, one by one.
                score, item = score[at_once:], item[at_once:]
                fits = limits.fitting(lists, item)[0]
                score, item = score[fits], item[fits]
        return lists
