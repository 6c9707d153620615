"""Every reference as a plain loop over one case, to check the fast ones against."""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np

from recsys.config import Evaluate
from recsys.schemas import FIRST_ITEM

History = list[list[int]]  # the items of each step; a step is a day
SESSION_STEPS = 2  # a session is two steps
Scores = dict[int, float]


def known(steps: History) -> History:
    return [[item for item in step if item >= FIRST_ITEM] for step in steps]


def sessions(steps: History) -> list[History]:
    return [steps[start : start + SESSION_STEPS] for start in range(0, len(steps), SESSION_STEPS)]


class Plain:
    """References fitted on the first steps of all users.

    Args:
        train: of each user, the steps of train
        items: of the catalogue
        settings: of the references
        attributes: of each, the value of each item or a list of them; none where it has no value
        vectors: of each other feature, the numbers of each item
    """

    def __init__(
        self,
        train: list[History],
        items: int,
        settings: Evaluate,
        attributes: list[dict[int, Any]],
        vectors: list[dict[int, list[float]]] | None = None,
    ) -> None:
        self.train = [known(steps) for steps in train]
        self.catalogue = range(FIRST_ITEM, FIRST_ITEM + items)
        self.settings = settings
        self.attributes = attributes
        self.vectors = vectors or []
        self.user: int | None = None
        self.counts = Counter(item for steps in self.train for step in steps for item in step)
        self.sessions = [own for steps in self.train for own in sessions(steps) if any(own)]

    def order(
        self, name: str, steps: History, user: int | None = None
    ) -> list[tuple[int, tuple[float, int]]]:
        """The catalogue from the best item on, each with what it is ordered by.

        Args:
            name: of the reference
            steps: before the step to predict
            user: whose they are, by the place in train
        """
        self.user = user
        said = getattr(self, name)(known(steps))
        most = max([*said.values(), 0.0]) or 1.0
        least = min([*said.values(), 0.0])
        keys = {
            item: (round((said.get(item, 0.0) - least) / (most - least or 1), 6), self.counts[item])
            for item in self.catalogue
        }
        best = sorted(self.catalogue, key=lambda item: (-keys[item][0], -keys[item][1], item))
        return [(item, keys[item]) for item in best]

    def popular(self, steps: History) -> Scores:
        return {}

    def popular_recent(self, steps: History) -> Scores:
        half_life, end = self.settings.popular_recent.half_life_days, 3
        total: Scores = {}
        for user in self.train:
            for day, step in enumerate(user):
                for item in step:
                    total[item] = total.get(item, 0.0) + 2.0 ** (-(end - day) / half_life)
        return total

    def in_session(self, steps: History) -> Scores:
        return dict(Counter(item for step in sessions(steps)[-1] for item in step))

    def own_items(self, steps: History) -> Scores:
        own = Counter(item for step in steps for item in step)
        return {item: own[item] + self._last(steps, item) / 1000 for item in own}

    def own_items_recent(self, steps: History) -> Scores:
        total: Scores = {}
        for day, step in enumerate(steps):
            for item in step:
                faded = 2.0 ** (-(len(steps) - 1 - day) / 60)
                total[item] = total.get(item, 0.0) + faded
        return total

    def recently_viewed(self, steps: History) -> Scores:
        return {item: 1 + self._last(steps, item) for step in steps for item in step}

    def category_best_sellers(self, steps: History) -> Scores:
        colour = self.attributes[0]
        own = Counter(colour[item] for step in steps for item in step)
        sold: Counter[str | None] = Counter()
        for item in self.catalogue:
            sold[colour[item]] += self.counts[item]
        return {
            item: own[colour[item]] * self.counts[item] / max(sold[colour[item]], 1)
            for item in self.catalogue
            if colour[item] is not None
        }

    def _last(self, steps: History, item: int) -> int:
        return max(day for day, step in enumerate(steps) if item in step)

    def _asked(self, steps: History, decay: float) -> Scores:
        last = {item: self._last(steps, item) for step in steps for item in step}
        latest = max(last.values(), default=0)  # steps after it have no known item
        return {item: decay ** (latest - day) for item, day in last.items()}

    def _spoken(self, steps: History, decay: float, rules: dict[int, Scores], most: int) -> Scores:
        total: Scores = {}
        for item, weight in self._asked(steps, decay).items():
            said = rules.get(item, {})
            for other in sorted(said, key=lambda other: (-said[other], other))[:most]:
                total[other] = total.get(other, 0.0) + weight * said[other]
        return total

    def _together(self) -> dict[int, Scores]:
        rules: dict[int, Scores] = {}
        for own in self.sessions:
            items = {item for step in own for item in step}
            for item in items:
                for other in items:
                    said = rules.setdefault(item, {})
                    said[other] = said.get(other, 0.0) + 1
        return rules

    def item_knn(self, steps: History) -> Scores:
        settings, together = self.settings.item_knn, self._together()
        root = {
            item: math.sqrt(together[item][item] + settings.regularisation) for item in together
        }
        rules = {
            item: {
                other: count / root[item] / root[other]
                for other, count in said.items() if other != item
            }
            for item, said in together.items()
        }  # fmt: skip
        return self._spoken(steps, settings.decay, rules, settings.neighbours)

    def association_rules(self, steps: History) -> Scores:
        settings = self.settings.association_rules
        rules = {
            item: {other: count for other, count in said.items() if other != item}
            for item, said in self._together().items()
        }
        return self._spoken(steps, settings.decay, rules, settings.neighbours)

    def sequential_rules(self, steps: History) -> Scores:
        settings = self.settings.sequential_rules
        rules: dict[int, Scores] = {}
        for own in self.sessions:
            for first, step in enumerate(own):
                for second in range(first + 1, min(first + settings.steps, len(own) - 1) + 1):
                    for item in step:
                        for other in own[second]:
                            if other != item:
                                said = rules.setdefault(item, {})
                                said[other] = said.get(other, 0.0) + 1 / (second - first)
        return self._spoken(steps, settings.decay, rules, settings.neighbours)

    def user_knn(self, steps: History) -> Scores:
        settings = self.settings.user_knn
        own = {item for step in steps for item in step}
        users = []
        for number, user in enumerate(self.train):
            if number == self.user:
                continue
            last = max((day for day, step in enumerate(user) if step), default=0)
            users.append((-last, sorted({item for step in user for item in step})))
        similar = []
        for _, listed in sorted(users):  # of those that are as near the latest come first
            items = set(listed)
            root = math.sqrt(
                (len(own) + settings.regularisation) * (len(items) + settings.regularisation)
            )
            similar.append((len(own & items) / root, items))
        return self._voted(similar, settings.neighbours)

    def session_knn(self, steps: History) -> Scores:
        settings = self.settings.session_knn
        latest: list[int] = []
        for step in reversed(sessions(steps)[-1]):
            latest += [item for item in reversed(step) if item not in latest]
        weight = {item: 1 - place / len(latest) for place, item in enumerate(latest)}
        # They all end at one of a few instants: of one instant those with the lower items first.
        past = []
        for place, user in enumerate(self.train):
            for number, own in enumerate(sessions(user)):
                if place == self.user and number >= len(sessions(steps)) - 1:
                    continue
                items = {item for step in own for item in step}
                last = max((day for day, step in enumerate(own) if step), default=0)
                if items & set(latest):
                    past.append((-(number * SESSION_STEPS + last), sorted(items)))
        candidates = [items for _, items in sorted(past)][: settings.candidates or None]
        similar = [
            (sum(weight.get(item, 0.0) for item in items), set(items)) for items in candidates
        ]
        votes = []
        for score, items in similar:
            place = min(latest.index(item) for item in items if item in latest)
            votes.append((score, 1 / (place + 1), items))
        best = sorted(votes, key=lambda own: -own[0])[: settings.neighbours]
        total: Scores = {}
        for score, vote, items in best:
            for item in items:
                total[item] = total.get(item, 0.0) + score * vote
        return total

    def _voted(self, similar: list[tuple[float, set[int]]], most: int) -> Scores:
        total: Scores = {}
        for score, items in sorted(similar, key=lambda own: -own[0])[:most]:
            for item in items:
                total[item] = total.get(item, 0.0) + score
        return total

    def content(self, steps: History) -> Scores:
        total: Scores = {}
        profile = Counter[Any]()
        for item, weight in self._asked(steps, self.settings.content.decay).items():
            for name, number in self._described[item].items():
                profile[name] += weight * number
        for item, numbers in self._described.items():
            total[item] = sum(profile[name] * number for name, number in numbers.items())
        return total

    @cached_property
    def _described(self) -> dict[int, dict[Any, float]]:
        """Each item as a vector of length 1, in which no block of dimensions outweighs another."""
        blocks = [{item: self._rarities(item) for item in self.catalogue}]
        for number, values in enumerate(self.vectors):
            blocks.append(
                {
                    item: {(f"vector {number}", place): x for place, x in enumerate(values[item])}
                    for item in self.catalogue
                }
            )
        found: dict[int, dict[Any, float]] = {item: {} for item in self.catalogue}
        for block in blocks:
            squares = [sum(x * x for x in own.values()) for own in block.values()]
            some = [square for square in squares if square > 0]
            for item, own in block.items():
                scale = math.sqrt(sum(some) / len(some))
                found[item] |= {name: x / scale for name, x in own.items()}
        for item, own in found.items():
            length = math.sqrt(sum(x * x for x in own.values())) or 1.0
            found[item] = {name: x / length for name, x in own.items()}
        return found

    def _rarities(self, item: int) -> dict[Any, float]:
        found = {}
        for number, attribute in enumerate(self.attributes):
            for value in listed(attribute[item]):
                alike = sum(value in listed(other) for other in attribute.values())
                found[number, value] = math.log((len(self.catalogue) + 2) / alike)
        return found


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [] if value is None else [value]


def folded_in(
    steps: History, vectors: np.ndarray, regularisation: float, confidence: float
) -> np.ndarray:
    """The vector that minimizes ALS's loss for a user of this history, by its own formula."""
    own = Counter(item for step in known(steps) for item in step)
    size = vectors.shape[1]
    left, right = regularisation * len(own) * np.eye(size), np.zeros(size)
    for item, vector in enumerate(vectors):
        weight = 1 + confidence * own[item]
        left += weight * np.outer(vector, vector)
        right += weight * (item in own) * vector
    return np.linalg.solve(left, right)
