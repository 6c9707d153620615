"""What the workers of a machine share of a model: arrays on its disk, one copy in memory.

The first worker that needs one loads the whole model to make it. Afterwards none holds the model,
so that beyond these arrays no worker grows with the catalogue.
"""

from __future__ import annotations

from recsys import cache, files, saved_model
from recsys.saved_model import ITEM_READS, Encoder
from recsys.score import vectors
from recsys.score.neighbours import NeighbourShelf, build
from recsys.score.plan import Floats, Ints, Plan
from recsys.score.shelf import ExactShelf, Shelf


def encoder(plan: Plan) -> Encoder:
    """What reads histories."""
    path = cache.shared(
        _key(plan, "reads"),
        lambda path: vectors.write_whole(
            path, _of_items(plan, ITEM_READS), len(plan.catalogue.train_count)
        ),
        suffix=".npy",
    )
    return Encoder(plan.encoder, vectors.load(path))


def shelf(plan: Plan, items: Ints) -> ExactShelf:
    """The items with their vectors and what they score with everybody."""
    name_V, bias_V = plan.catalogue.item_id, plan.bias
    path = cache.shared(
        _key(plan, "scores", items.tobytes(), bias_V.tobytes()),
        lambda path: vectors.write(path, _of_items(plan, "vectors"), items, bias_V, name_V),
        suffix=".npy",
    )
    return shelf_of(plan, items, vectors.load(path))


def directions(plan: Plan, items: Ints) -> Floats:
    """The items' vectors at length 1 [N, D]."""
    name_V = plan.catalogue.item_id
    path = cache.shared(
        _key(plan, "directions", items.tobytes()),
        lambda path: vectors.write_directions(path, _of_items(plan, "vectors"), items, name_V),
        suffix=".npy",
    )
    return vectors.load(path)


def with_index(plan: Plan, exact: ExactShelf, what: str, threads: int) -> Shelf:
    """The shelf, with an index where the plan wants one.

    Args:
        plan: of the lists
        exact: the shelf
        what: its vectors are
        threads: of a search
    """
    settings = plan.score.neighbours
    if not plan.uses_neighbours:
        return exact
    path = cache.shared(
        _key(plan, what, repr(settings), exact.items.tobytes(), plan.bias.tobytes()),
        lambda path: build(path, exact.vectors_NW, settings, threads),
        suffix=".faiss",
    )
    return NeighbourShelf(exact, path, settings, threads)


def shelf_of(plan: Plan, items: Ints, vectors_NW: Floats) -> ExactShelf:
    """A shelf of these items and vectors."""
    return ExactShelf(items, vectors_NW, plan.score.block_items, len(plan.catalogue.train_count))


def _of_items(plan: Plan, what: str) -> vectors.Of:
    """What the whole model says of items, part by part."""
    return lambda item: saved_model.load(plan.export).of_items(item)[what]


def _key(plan: Plan, *what: str | bytes) -> str:
    return files.fingerprint([plan.model_version, plan.export, *what])
