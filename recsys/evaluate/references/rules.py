"""What a shop writes by hand: what was looked at last, and the best-sellers of its category.

Shapes: N cases, V vocabulary, C categories, n pairs of a case and an event of its history.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.evaluate.cases import Batch
from recsys.evaluate.references.system import Floats, Ints, Training, above_popularity
from recsys.schemas import FIRST_ITEM


@dataclass(frozen=True)
class RecentlyViewed:
    """The items of the history, the latest first, whatever was done with them.

    Args:
        popularity: of each item [V]
    """

    popularity: Floats
    name: str = "recently_viewed"

    def scores(self, batch: Batch) -> Floats:
        """From 1 on by the step at which an item was seen last; below 1 all others [N, V]."""
        scores_NV = np.tile(self.popularity, (len(batch), 1))
        for case_n, place_n in batch.histories():
            is_known_n = batch.events.item[place_n] >= FIRST_ITEM
            case_n, place_n = case_n[is_known_n], place_n[is_known_n]
            item_n, step_n = batch.events.item[place_n], batch.events.number[place_n]
            # In time: the latest event of an item is written last.
            scores_NV[case_n, item_n] = 1 + step_n + self.popularity[item_n]
        return scores_NV


@dataclass(frozen=True)
class CategoryBestSellers:
    """The best-sellers of the categories of the history.

    P(category | history) * P(item | category): the category's share of the history's events, and
    the item's share of what is bought of the category in train.

    Args:
        share: of its category's events, of each item [V]
        category: of each item [V]
        categories: C
        popularity: of each item [V]
    """

    share: Floats
    category: Ints
    categories: int
    popularity: Floats
    name: str = "category_best_sellers"

    def scores(self, batch: Batch) -> Floats:
        """The product of the two shares [N, V]."""
        profile_NC = np.zeros(len(batch) * self.categories)
        for case_n, place_n in batch.histories():
            item_n = batch.events.item[place_n]
            key_n = case_n * self.categories + self.category[item_n]
            is_known_n = item_n >= FIRST_ITEM
            profile_NC += np.bincount(key_n[is_known_n], minlength=len(profile_NC))
        scores_NV = profile_NC.reshape(len(batch), -1)[:, self.category] * self.share
        return above_popularity(scores_NV, self.popularity)


def recently_viewed(training: Training) -> RecentlyViewed:
    """The items of the history, the latest first."""
    return RecentlyViewed(training.popularity)


def category_best_sellers(training: Training) -> CategoryBestSellers:
    """The best-sellers of the categories of the history.

    Raises:
        ValueError: the items have no attribute to tell categories by
    """
    if training.category is None:
        raise ValueError("expected items with a category, found none")
    category_V = training.attributes[training.category].column
    counts_V = training.counts.astype(float)
    total_C = np.bincount(category_V, counts_V)
    share_V = counts_V / np.maximum(total_C, 1)[category_V]
    share_V[category_V < FIRST_ITEM] = 0.0  # nobody knows that they are alike
    return CategoryBestSellers(
        share_V, category_V, int(category_V.max(initial=0)) + 1, training.popularity
    )
