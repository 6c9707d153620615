"""What a report keeps of its model so that another report can be tested against it.

Each figure of the model in the sample and on every resample, under the name that evaluate.floors
has for it:

    figure                   values [1 + R]
    recall@20                0.21  0.20  0.22  ...
    recall@20 in users=new   0.17  0.19  0.16  ...
    purchase auc             0.74  0.74  0.75  ...

Users are drawn alike in every report (bootstrap.SEED), so that of two reports on the same cases
the differences, resample by resample, are paired.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import files
from recsys.evaluate.aggregate import Estimates
from recsys.evaluate.bootstrap import Floats

FILE = "resamples.parquet"
_SCHEMA = pa.schema([("figure", pa.string()), ("values", pa.list_(pa.float64()))])


def of_system(
    system: str,
    whole: Mapping[tuple[str, str, int], Floats],
    columns: Sequence[tuple[str, int]],
    found: Estimates,
) -> dict[str, Floats]:
    """What is kept of a system: figure to its values [1 + R].

    Args:
        system: its name
        whole: by system, metric and list length, over all cases
        columns: metric and list length of what a report shows of all cases
        found: the slices' are taken
    """
    kept = {f"{metric}@{k}": whole[system, metric, k] for metric, k in columns}
    for (of, name, value, metric, k), estimate in sorted(found.items()):
        if of == system and name != "all":
            kept[f"{metric}@{k} in {name}={value}"] = estimate.values
    return kept


def write(report: str, drawn: Mapping[str, Floats]) -> None:
    """Keeps it in a report's version."""
    table = pa.Table.from_pydict(
        {"figure": list(drawn), "values": list(drawn.values())}, schema=_SCHEMA
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    files.write_bytes(files.join(report, FILE), buffer.getvalue())


def read(report: str) -> dict[str, Floats]:
    """What a report's version kept; nothing where an earlier program wrote it."""
    url = files.join(report, FILE)
    if not files.exists(url):
        return {}
    table = pq.read_table(io.BytesIO(files.read_bytes(url)), schema=_SCHEMA)
    names, values = table["figure"].to_pylist(), table["values"].to_pylist()
    return {name: np.array(own) for name, own in zip(names, values, strict=True)}
