"""What was published of references under the same protocols, by how much ours differ, and why.

Sources: the tables of NARM (Li et al., CIKM 2017) and SR-GNN (Wu et al., AAAI 2019) for YooChoose
1/64, of S3-Rec (Zhou et al., CIKM 2020) for Beauty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from recsys.evaluate import words

Figures = Mapping[str, float]

PUBLISHED: Mapping[str, Mapping[str, Figures]] = {
    "yoochoose64": {
        "popular": {"recall@20": 0.0671, "mrr@20": 0.0165},
        "in_session": {"recall@20": 0.3044, "mrr@20": 0.1835},
        "item kNN of the latest item": {"recall@20": 0.5160, "mrr@20": 0.2181},
    },
    "beauty": {
        "most popular, of train, valid, test": {
            "recall@5": 0.0080, "ndcg@5": 0.0044, "recall@10": 0.0152, "ndcg@10": 0.0068,
            "recall@20": 0.0217, "ndcg@20": 0.0084,
        },
    },
}  # fmt: skip
# Found by counting the files in the ways named: benchmarks/yoochoose_counts.py.
CAUSES: Mapping[str, Mapping[str, str]] = {
    "yoochoose64": {
        "popular": (
            "The note that came with these files counts 0.0731 / 0.0169, too: the "
            "published one is of other counts. A train that ends earlier lowers it, but not to "
            "that: without the latest 2.4 % to 2.8 % of its sessions it is 0.0686 / 0.0164, "
            "without 2.9 % to 3.5 % 0.0634 / 0.0161, and nothing between."
        ),
        "in_session": (
            "What is not in the session stands by popularity. The cause of the rest is not known; "
            "without the latest 3 % of train's sessions it is 0.3043 / 0.1841."
        ),
        "item kNN of the latest item": (
            "A session counts once here. Each click counted with the items of its session, as the "
            "code of GRU4Rec does (regularisation 20, alpha 0.5, 100 neighbours of the latest "
            "item), it is 0.5212 / 0.2180. The cause of the rest is not known; without the latest "
            "3 % of train's sessions it is 0.5175 / 0.2166."
        ),
    },
    "beauty": {},
}
NOTES: Mapping[str, str] = {
    "beauty": (
        "Popularity of train and validation is HR@10 0.0130 where ties count against it, as here, "
        "0.0135 where the order of the items breaks them, 0.0141 where they count in its favour "
        "(benchmarks/beauty_counts.py)."
    ),
}


def compared(name: str, found: Mapping[str, Figures]) -> Iterator[str]:
    """A line for each published row of a set: ours, theirs, what differs, and the cause."""
    for system, theirs in PUBLISHED[name].items():
        figures = ", ".join(
            f"{metric} ours {found[system][metric]:.4f}, published {value:.4f} "
            f"({found[system][metric] - value:+.4f})"
            for metric, value in theirs.items()
        )
        cause = CAUSES[name].get(system)
        yield f"{words.SYSTEMS.get(system, system)}: {figures}" + (f". {cause}" if cause else "")
    if name in NOTES:
        yield NOTES[name]
