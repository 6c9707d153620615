"""What others use of a trained model: SavedModels, the items' vectors, and a TFLite file."""

from __future__ import annotations

import tempfile
from dataclasses import asdict

from recsys import files
from recsys.config import Config
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM
from recsys.train import encoder, export, lite, vectors
from recsys.train.batches import read_rows
from recsys.train.catalogue import read_item_ids
from recsys.train.model import Recommender

# Of validation, that a TFLite export is compared with the model on.
_CHECKED_ROWS = 16


def write(model: Recommender, dataset: Manifest, config: Config, version: str) -> None:
    """Writes export/, encoder/, item_vectors.parquet and, if asked for, lite/.

    Args:
        model: the trained one
        dataset: that it was trained on
        config: of the run
        version: URL of the folder that they lie in
    """
    item_ids = read_item_ids(dataset)
    names = {"event_type": list(dataset.event_types), "platform": list(dataset.platforms)}
    module = export.Export(
        model, item_ids, names, config.ranking.exclude_history, dataset.event_numbers
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, save in (("export", export.save), ("encoder", encoder.save)):
            save(module, f"{folder}/{name}")
            target = files.join(version, name)
            if files.exists(target):  # of a run that was killed before it published it
                files.remove(target)
            files.upload(f"{folder}/{name}", target)
    vectors.write_item_vectors(model, item_ids, files.join(version, "item_vectors.parquet"))
    if config.train.tflite:
        _write_lite(model, dataset, config.ranking.exclude_history, files.join(version, "lite"))


def _write_lite(model: Recommender, dataset: Manifest, exclude_history: bool, folder: str) -> None:
    fixed = lite.Lite(model, dataset.sequence_length, exclude_history)
    content = lite.convert(fixed)
    rows = read_rows(dataset, "valid", _CHECKED_ROWS, model.events.columns)
    lite.check(content, fixed, rows)
    files.write_bytes(files.join(folder, "model.tflite"), content)
    names = {
        "item_ids": read_item_ids(dataset),
        "event_types": list(dataset.event_types),
        "platforms": list(dataset.platforms),
        "event_numbers": {name: asdict(own) for name, own in dataset.event_numbers.items()},
        "first_index": FIRST_ITEM,
    }
    files.write_json(files.join(folder, "vocabulary.json"), names)
