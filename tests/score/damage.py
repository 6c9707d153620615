"""What disks and kills do to files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recsys import files
from tests.score.worlds import World


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def spoil(path: Path, start: int = 100) -> None:
    whole, end = path.read_bytes(), start + 300
    path.write_bytes(whole[:start] + bytes(byte ^ 0x5A for byte in whole[start:end]) + whole[end:])


def change_a_score(path: Path) -> None:
    """The file is as whole as it was, and one score in it is another."""
    table = pq.read_table(path)
    scores = table.column("score").to_pylist()
    scores[0][0] += 0.25
    column = table.schema.get_field_index("score")
    changed = pa.array(scores, table.schema.field(column).type)
    pq.write_table(table.set_column(column, "score", changed), path)


def histories_of(world: World) -> Path:
    url = files.current(str(world.folder / "dataset"), "")
    return Path(files.local_copy(files.join(url, "histories")))
