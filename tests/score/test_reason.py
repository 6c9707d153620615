"""The past event that counted most, against histories written anew."""

from __future__ import annotations

import numpy as np
from pyspark.sql import SparkSession

from tests.score import brute
from tests.score.listing import indexes, known, lists, small
from tests.score.worlds import USERS, World


def test_reason_is_the_event_without_which_the_score_is_lowest(
    spark: SparkSession, world: World
) -> None:
    found = lists(spark, world, score=small(reason=True, top_k=3))
    scores = brute.model_scores(world)
    for user in range(0, USERS - 1, 7):
        rows = {name: world.histories[name][user] for name in brute.INPUTS}
        events = int((rows["step"] >= 0).sum())
        if not known(world, user):
            continue
        without = np.stack([_without(world, rows, event) for event in range(events)])
        row = found[world.users[user]]
        for item, reason in zip(indexes(row), row["reason"], strict=True):
            lowest = int(without[:, item].argmin())
            if without[lowest, item] >= scores[user, item]:
                assert reason is None
            else:
                expected = rows["item"][lowest]
                assert reason == (f"item-{expected}" if expected >= 2 else None)


def _without(world: World, rows: dict[str, np.ndarray], lost: int) -> np.ndarray:
    """The model's scores [V] of the history written anew without an event."""
    kept = [
        place for place in range(len(rows["step"])) if place != lost and rows["step"][place] >= 0
    ]
    old_steps = sorted({int(rows["step"][place]) for place in kept})
    new = {name: np.zeros((1, len(rows["step"])), np.int32) for name in brute.INPUTS}
    new["step"] -= 1
    for number, place in enumerate(kept):
        step = int(rows["step"][place])
        lost_step = int(rows["step"][lost])
        gap, start = rows["gap_seconds"][place], rows["session_start"][place]
        if step == lost_step + 1 and lost_step not in old_steps:
            before = rows["gap_seconds"][lost]
            gap = 0 if lost_step == 0 and before == 0 else gap + before
            start = max(start, rows["session_start"][lost])
        new["item"][0, number] = rows["item"][place]
        new["event_type"][0, number] = rows["event_type"][place]
        new["gap_seconds"][0, number] = gap
        new["session_start"][0, number] = start
        new["step"][0, number] = old_steps.index(step)
    return brute.model_scores(world, new)[0]
