"""What systems, metrics and slices are called where people read of them."""

from __future__ import annotations

from recsys.evaluate import metrics

# Higher is better for those before coverage; the rest only describe.
METRICS = {
    "recall": "Recall",
    "precision": "Precision",
    "f1": "F1",
    "hit_rate": "Hit rate",
    "mrr": "MRR",
    "ndcg": "NDCG",
    "map": "MAP",
    "coverage": "Coverage",
    "gini": "Gini",
    "novelty": "Novelty (bits)",
    "new_items": "New to the user",
    "serendipity": "Serendipity",
    "popularity_bias": "Popularity bias",
    "category_diversity": "Diversity by category",
    "vector_diversity": "Diversity by vector",
}
QUALITY = (*metrics.OF_RANKS, "serendipity")

MEANINGS = {
    "recall": "share of the targets that are among the first k.",
    "precision": "share of the k places that hold a target.",
    "f1": "harmonic mean of a case's precision and recall.",
    "hit_rate": "share of the cases with at least one target found.",
    "mrr": "1 / the rank of the first target found.",
    "ndcg": (
        "the targets found, each discounted by 1 / log2(rank + 1), over the same of the best list "
        "possible."
    ),
    "map": "the precision at the place of each target found, over the targets that fit.",
    "coverage": "share of the catalogue that is in at least one list.",
    "gini": "0 where all items are recommended alike, towards 1 where few are.",
    "novelty": (
        "mean of −log2 of the recommended items' share of the events of train, one event added to "
        "each item."
    ),
    "new_items": "share of the recommended items that the user's history lacks.",
    "serendipity": (
        "share of the k places that hold a target beyond the k items most frequent in train."
    ),
    "popularity_bias": (
        "how many times as frequent in train the recommended items are as an average item."
    ),
    "category_diversity": "share of a list's pairs that differ in category.",
    "vector_diversity": "one minus the mean cosine of a list's pairs, by the model's item vectors.",
}

PURCHASE = {
    "auc": "AUC",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "log_loss": "Log loss",
}
PURCHASE_SYSTEMS = {"model": "The model", "purchase_rate": "The item's purchase rate"}

SYSTEMS = {
    "model": "the model",
    "popular": "most popular items",
    "popular_recent": "most popular of late",
    "in_session": "popular in the session",
    "own_items": "user's own items",
    "own_items_recent": "user's own items, recent first",
    "recently_viewed": "recently viewed",
    "category_best_sellers": "best-sellers of the category",
    "item_knn": "item kNN",
    "user_knn": "user kNN",
    "session_knn": "session kNN (V-SkNN)",
    "association_rules": "association rules",
    "sequential_rules": "sequential rules",
    "matrix_factorization": "matrix factorization",
    "content": "alike in attributes",
    "hybrid": "hybrid",
    "bought": "what was bought",
}
DESCRIPTIONS = {
    "model": "the trained network, reading the latest events of a user.",
    "popular": (
        "the items bought most often in all that the systems learn from, the same for everybody."
    ),
    "popular_recent": "the same, where an event counts half after every half-life.",
    "in_session": "the items of the latest session, the most frequent first.",
    "own_items": (
        "all that the user had before the step: the most frequent first, then the latest."
    ),
    "own_items_recent": "the same, where an event counts half after every half-life.",
    "recently_viewed": "the items of the history, the latest first, whatever was done with them.",
    "category_best_sellers": (
        "the best-sellers of the history's categories, by each category's share of the history."
    ),
    "item_knn": "items that are in the same sessions as those of the history, by cosine.",
    "user_knn": "what other users with the same items have, by cosine.",
    "session_knn": (
        "what past sessions hold that share items with the latest session, those seen last above "
        "all."
    ),
    "association_rules": "items that are most often in the same sessions as those of the history.",
    "sequential_rules": "items that follow those of the history most often and most closely.",
    "matrix_factorization": "factors of how often users have items (implicit feedback, ALS).",
    "content": "items with the attributes of the history's, rare ones above all.",
    "hybrid": "a blend of other systems, with weights that validation has taught.",
}
COUNTED = (
    "References count all that was done in the time of the splits that they learn from, popularity "
    "too; what lies in an embargo between two splits, or in a session that crosses a border, is of "
    "no split and not counted."
)

SLICES = {
    "users": "Users",
    "history": "Events of the history",
    "items": "Items bought",
    "new_items": "Age of the items",
    "event_type": "Kind of event",
    "platform": "Platform",
    "category": "Category of the items",
    "day": "Day",
}
SLICE_MEANINGS = {
    "users": "new: with no event before the test split.",
    "history": "how many events the user had before.",
    "items": (
        "head: the fewest items that have half of the events of train; tail: the rest; unknown: "
        "too rare in train to be known."
    ),
    "new_items": (
        "new: first seen in the last tenth of the time that the systems learnt from, or never; "
        "unknown: in no vocabulary."
    ),
    "platform": "where the target happens, and with it where the list is asked for.",
}
