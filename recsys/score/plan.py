"""All that a worker must know to make lists; built on the driver, sent with the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recsys import files
from recsys.config import Score
from recsys.schemas import FIRST_ITEM, PAIRS, recommendations
from recsys.score.arrange import Lists, most_possible
from recsys.score.catalogue import Catalogue

Ints = npt.NDArray[np.int32]

# The group of whoever has none.
EVERYBODY = ""
# So many times the popular items of a list are looked at together.
_GROWTH = 4


@dataclass(frozen=True)
class Plan:
    """How lists of a kind are made.

    Args:
        kind: home, next, similar, pairs
        export: URL of the SavedModel
        model_version: of the model
        inputs: the arrays of a history that it reads
        catalogue: the items
        score: the configuration
        known_items: from the vocabulary's first on, those that the model can tell apart
        of_sessions: whether histories are of sessions, not of users
        exclude_history: leave out the items that the history holds
        popular: group to what is popular there and may be recommended, best first; EVERYBODY is
            always one
        fallback: group to the list of those without a history
    """

    kind: str
    export: str
    model_version: str
    inputs: tuple[str, ...]
    catalogue: Catalogue
    score: Score
    known_items: int
    of_sessions: bool
    exclude_history: bool
    popular: dict[str, Ints] = field(default_factory=dict)
    fallback: dict[str, Lists] = field(default_factory=dict)

    def of(self, kind: str) -> Plan:
        """The same for lists of another kind."""
        return replace(self, kind=kind)

    @property
    def schema(self) -> dict[str, str]:
        """The columns of the lists."""
        if self.kind == "pairs":
            subject = "session_id" if self.of_sessions else "user_id"
            return {subject if name == "user_id" else name: kind for name, kind in PAIRS.items()}
        has_reason = self.score.reason and self.kind != "similar"
        return recommendations(self.kind, self.score.layout, has_reason)

    @property
    def has_arrays(self) -> bool:
        """Whether a subject is one row."""
        return self.score.layout == "arrays" and self.kind != "pairs"

    @cached_property
    def fingerprint(self) -> str:
        """Stands for all that the lists depend on, beside who gets them."""
        return files.fingerprint(
            [
                *(self.kind, self.model_version, self.catalogue.fingerprint()),
                *(repr(self.score), repr(self.exclude_history)),
                *(
                    part
                    for group, items in self.popular.items()
                    for part in (group, items.tobytes())
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
        """Empty lists under the rules."""
        return Lists(users, self.list_length, self.catalogue.values, self.score.rules.at_most)

    def is_known(self, item: Ints) -> npt.NDArray[np.bool_]:
        """Which of some items the model can tell from others."""
        return np.asarray((item >= FIRST_ITEM) & (item < FIRST_ITEM + self.known_items))

    @property
    def uses_neighbours(self) -> bool:
        """Whether an index takes the place of the exact search."""
        above = self.score.neighbours.above_items
        return self.kind != "pairs" and above is not None and len(self.catalogue.allowed) > above

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

    @cached_property
    def explore_places(self) -> int:
        """The places of a list that they get."""
        return round(self.score.rules.explore_share * self.list_length)

    def with_fallback(self, popular: Mapping[str, Ints]) -> Plan:
        """The same with lists of popular items.

        Args:
            popular: group to what is popular there, best first; items that may not be recommended
                are passed over, and what is popular with all fills up the list
        """
        allowed = self.catalogue.allowed
        by_count = allowed[np.argsort(-self.catalogue.train_count[allowed], kind="stable")]
        ours = {group: items[np.isin(items, allowed)] for group, items in popular.items()}
        result = replace(self, popular={**ours, EVERYBODY: by_count})
        none = np.zeros(0, np.int32)
        lists = {group: result.fallback_without(group, none) for group in result.popular}
        return replace(result, fallback=lists)

    def fallback_without(self, group: str, left_out: Ints) -> Lists:
        """What is popular in a group, then with all, without some items."""
        lists = self.lists(1)
        for name in dict.fromkeys((group, EVERYBODY)):
            items = self.popular[name]
            at_once = _GROWTH * lists.length + len(left_out)
            for start in range(0, len(items), at_once):
                some = items[start : start + at_once]
                candidates = some[~np.isin(some, left_out)]
                lists.take(self.catalogue.log_count[candidates][None], candidates[None], "fallback")
                if lists.size[0] == lists.length:
                    return lists
        return lists
