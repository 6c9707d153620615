"""The SavedModel of what reads histories, without what grows with the catalogue.

Its signatures are `encode` of the export and, of a model with a purchase head, `purchase_pairs`,
but they are given what the network reads of items: of those of events `item_reads` [B, L, R], of
those of pairs `pair_reads` [P, R]. Both are rows of what the export's `of_items` returns. So a
process that encodes users needs no table of its own of all items; many can map one.
"""

from __future__ import annotations

import tensorflow as tf

from recsys.saved_model import ITEM_READS, PAIR_READS
from recsys.train.export import Export, input_specs, pair_specs, traced, without_gradients


def save(export: Export, folder: str) -> None:
    """Writes the SavedModel to a local folder."""
    model, item = export.model, tf.constant([0])
    rows = input_specs(model, None, None)
    rows[ITEM_READS] = _spec(ITEM_READS, [None, None, model.item_reads(item).shape[1]])
    signatures = {"encode": traced(export.encode, **rows)}
    if model.purchase is not None:
        reads = _spec(PAIR_READS, [None, model.pair_reads(item).shape[1]])
        pairs = {**pair_specs(), PAIR_READS: reads}
        signatures["purchase_pairs"] = traced(export.purchase_pairs, **pairs, **rows)
    root = tf.Module(name="encoder")
    # The export itself has those of all items.
    root.variables_read = [each for own in signatures.values() for each in own.graph.variables]
    tf.saved_model.save(root, folder, signatures=signatures, options=without_gradients())


def _spec(name: str, shape: list[int | None]) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float32, name)
