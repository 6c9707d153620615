"""The only room that reads and writes Spark tables, and the session that does it."""

from recsys.tables.failures import reading
from recsys.tables.raw import (
    ROW,
    UNREADABLE,
    read_events,
    read_identities,
    read_items,
    read_pairs,
    read_stock,
    read_subjects,
)
from recsys.tables.session import (
    spark_session,
    with_batches_by_rows,
    with_batches_of,
)
from recsys.tables.stored import (
    of_file,
    read,
    read_files,
    read_in_order,
    read_lines,
    read_undamaged,
    read_whole,
    read_with_places,
    row_groups,
    schema_of,
    write,
    write_json_lines,
)
from recsys.tables.whole import FILES, in_files, write_files

__all__ = [
    "FILES",
    "ROW",
    "UNREADABLE",
    "in_files",
    "of_file",
    "read",
    "read_events",
    "read_files",
    "read_identities",
    "read_in_order",
    "read_items",
    "read_lines",
    "read_pairs",
    "read_stock",
    "read_subjects",
    "read_undamaged",
    "read_whole",
    "read_with_places",
    "reading",
    "row_groups",
    "schema_of",
    "spark_session",
    "with_batches_by_rows",
    "with_batches_of",
    "write",
    "write_files",
    "write_json_lines",
]
