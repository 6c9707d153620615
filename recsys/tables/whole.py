"""Parquet files that passes in Python make whole.

Spark's own writer takes each number of a list from Arrow into a row and from there into the file:
of lists of numbers that costs four times what it costs Arrow to make the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys import files
from recsys.arrays import arrow_schema
from recsys.errors import DataError
from recsys.tables.failures import reading

# One row a file, without its last four bytes, which are the same in every Parquet file.
FILES: dict[str, str] = {"file": "binary"}
_END = b"PAR1"
_TEXT, _PARQUET = ".txt", ".parquet"
# Rows of real length are in files of about so many bytes.
_BYTES = 32 * 2**20


def in_files(
    schema: Mapping[str, str], rows: int | None = None
) -> Callable[[Iterable[pa.Table | pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A pass that makes FILES of one row group, without dictionaries and statistics.

    Args:
        schema: column to type, of what comes in
        rows: of each file but the last one of a partition; none goes by bytes
    """
    kinds = _without_nulls(arrow_schema(schema))

    def make(parts: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting = kinds.empty_table()
        for part in parts:
            arrived = [part] if isinstance(part, pa.Table) else [pa.Table.from_batches([part])]
            waiting = pa.concat_tables([waiting, *(table.cast(kinds) for table in arrived)])
            while rows is not None and len(waiting) >= rows:
                yield _file(waiting.slice(0, rows))
                waiting = waiting.slice(rows)
            if rows is None and waiting.nbytes >= _BYTES:
                yield _file(waiting)
                waiting = kinds.empty_table()
        if len(waiting):
            yield _file(waiting)

    return make


def _without_nulls(schema: pa.Schema) -> pa.Schema:
    """Lists whose entries are never null, which need fewer levels."""
    kinds = [
        pa.list_(pa.field("element", field.type.value_type, nullable=False))
        if pa.types.is_list(field.type) else field.type
        for field in schema
    ]  # fmt: skip
    return pa.schema([*zip(schema.names, kinds, strict=True)])


def _file(table: pa.Table) -> pa.RecordBatch:
    content = pa.array([_content(table)[: -len(_END)]], pa.binary())
    return pa.RecordBatch.from_pydict({"file": content})


def _content(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(
        table, sink, row_group_size=max(1, len(table)), use_dictionary=False, write_statistics=False
    )
    return bytes(sink.getvalue())


def write_files(made: DataFrame, url: str, schema: Mapping[str, str]) -> None:
    """Writes FILES, once: what is there already stays and is an error.

    Their names sort by partition, and by their order in it.

    Args:
        made: FILES
        url: the folder
        schema: of in_files()

    Raises:
        DataError: something is there
    """
    if files.exists(url):
        raise DataError(f"{url}: expected nothing there, found a folder or a file")
    if files.is_local(url):
        _write_local(made, url)
    else:
        _write_as_text(made, url)
    if not any(name.endswith(_PARQUET) for name in files.names(url)):
        content = _content(_without_nulls(arrow_schema(schema)).empty_table())
        files.write_bytes(files.join(url, f"part-00000{_PARQUET}"), content)


def _write_local(made: DataFrame, url: str) -> None:
    """From the workers themselves.

    For each file on a local disk Hadoop starts two processes, chmod of it and of its checksums,
    which took 11 ms of processor time at least: as much as making 6,000 rows of seven events.
    """

    def put(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        assert context is not None
        number = 0
        for batch in batches:
            for content in batch.column(0).to_pylist():
                name = f"part-{context.partitionId():05}-{number:05}{_PARQUET}"
                attempt = f".{context.taskAttemptId()}"
                files.write_bytes(files.join(url, name), content + _END, attempt)
                number += 1
        yield pa.RecordBatch.from_pydict({"files": pa.array([number], pa.int64())})

    # A worker that ends late must not bring back a folder that was removed.
    fs, root = files.filesystem(url)
    fs.makedirs(root)
    with reading(url, to=url):
        made.mapInArrow(put, "files bigint").collect()
    for path in fs.find(root):  # of attempts that were killed
        if not path.endswith(_PARQUET):
            fs.rm(path)


def _write_as_text(made: DataFrame, url: str) -> None:
    """By Spark, which adds nothing to the bytes of a line but what ends it: here, a file's end."""
    lines = made.select(F.col("file").cast("string"))
    writer = lines.write.mode("errorifexists").option("lineSep", _END.decode())
    writer.option("compression", "none").option("maxRecordsPerFile", 1).text(url)
    fs, root = files.filesystem(url)

    def rename(path: str) -> None:
        if fs.size(path):
            fs.mv(path, path.removesuffix(_TEXT) + _PARQUET)
        else:  # of a partition without rows
            fs.rm(path)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(rename, [path for path in fs.find(root) if path.endswith(_TEXT)]))
