"""The SavedModel of what reads histories, without what grows with the catalogue.

Its one signature, `encode`, is that of the export, but takes what the network reads of the events'
items, `item_reads` [B, L, R]: rows of what the export's `of_items` returns. So a process that
encodes users needs no table of its own of all items; many can map one.
"""

from __future__ import annotations

import tensorflow as tf

from recsys.saved_model import ITEM_READS
from recsys.train.export import Export, input_specs, traced, without_gradients


def save(export: Export, folder: str) -> None:
    """Writes the SavedModel to a local folder."""
    width = export.model.item_reads(tf.constant([0])).shape[1]
    reads = tf.TensorSpec([None, None, width], tf.float32, ITEM_READS)
    encode = traced(export.encode, **input_specs(export.model, None, None), **{ITEM_READS: reads})
    root = tf.Module(name="encoder")
    root.variables_read = list(encode.graph.variables)  # the export itself has those of all items
    tf.saved_model.save(root, folder, signatures={"encode": encode}, options=without_gradients())
