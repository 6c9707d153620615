"""What the workers of a machine share of a model: arrays on its disk, one copy in memory.

The first worker that needs them has them made, by a process of its own that loads the whole model
and ends: TensorFlow does not give back what it has loaded once. So beyond these arrays no worker
grows with the catalogue.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np

from recsys import cache, files, saved_model
from recsys.errors import DataError
from recsys.saved_model import ITEM_READS, PAIR_READS, Ranker
from recsys.score import vectors
from recsys.score.neighbours import NeighbourShelf, build
from recsys.score.plan import Floats, Ints, Plan
from recsys.score.shelf import ExactShelf, Shelf


@dataclass(frozen=True)
class Wanted:
    """An array of what the model says of items.

    Args:
        output: of Ranker.of_items
        items: indexes in the vocabulary [N], rising
        write: writes what it gets of them to a path
    """

    output: str
    items: Ints
    write: Callable[[Path, vectors.Of], None]


def reads(plan: Plan) -> Wanted:
    """What an encoder reads of each item of the vocabulary."""
    items = np.arange(len(plan.catalogue.train_count), dtype=np.int32)
    return Wanted(ITEM_READS, items, partial(vectors.write_whole, chosen_N=items))


def pair_reads(plan: Plan) -> Wanted:
    """What a purchase head reads of each item of the vocabulary."""
    return replace(reads(plan), output=PAIR_READS)


def scores(plan: Plan, items: Ints) -> Wanted:
    """The vectors of items, and what these score with everybody."""
    about = {"chosen_N": items, "bias_V": plan.bias, "names_V": plan.catalogue.item_id}
    return Wanted("vectors", items, partial(vectors.write, **about))


def directions(plan: Plan, items: Ints) -> Wanted:
    """The vectors of items at length 1."""
    about = {"chosen_N": items, "names_V": plan.catalogue.item_id}
    return Wanted("vectors", items, partial(vectors.write_directions, **about))


def made(plan: Plan, wanted: Mapping[str, Wanted]) -> dict[str, Floats]:
    """The arrays, each by its name.

    Raises:
        DataError: the model says what is no number, or there is no memory to load it
    """
    # Whoever waits for the arrays needs it next.
    threading.Thread(target=importlib.import_module, args=("tensorflow",), daemon=True).start()
    items = [part for name, array in wanted.items() for part in (name, array.items.tobytes())]
    folder = cache.shared(_key(plan, *items), partial(_make, plan.export, wanted))
    return {name: vectors.load(folder / f"{name}.npy") for name in wanted}


def _make(export: str, wanted: Mapping[str, Wanted], folder: Path) -> None:
    folder.mkdir()
    try:
        with ProcessPoolExecutor(1, get_context("spawn"), initializer=_end_with_parent) as pool:
            pool.submit(_write, export, wanted, folder).result()
    except BrokenProcessPool as error:
        raise DataError(
            f"{export}: expected to load it, found the process that did so killed, as for want of "
            "memory"
        ) from error


def _end_with_parent() -> None:
    """Keeps the process, and the model that it loads, from outliving a worker that is killed."""

    def wait() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _write(export: str, wanted: Mapping[str, Wanted], folder: Path) -> None:
    """In the process of its own."""
    ranker = saved_model.load(export)
    for name, array in wanted.items():
        array.write(folder / f"{name}.npy", partial(_output, ranker, array.output))


def _output(ranker: Ranker, name: str, item: Ints) -> Floats:
    return np.asarray(ranker.of_items(item)[name])


def shelf(plan: Plan, items: Ints, vectors_NW: Floats) -> ExactShelf:
    """The items with their vectors."""
    return ExactShelf(items, vectors_NW, plan.score.block_items, len(plan.catalogue.train_count))


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
        _key(plan, what, repr(settings), exact.items.tobytes()),
        lambda path: build(path, exact.vectors_NW, settings, threads),
        suffix=".faiss",
    )
    return NeighbourShelf(exact, path, settings, threads)


def _key(plan: Plan, *what: str | bytes) -> str:
    return files.fingerprint([plan.model_version, plan.export, plan.bias.tobytes(), *what])
