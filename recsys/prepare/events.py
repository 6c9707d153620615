"""From the raw log to clean events: every value converted, every row checked.

A row at fault keeps its first reason, in the order of the checks here:

    user_id  item_id  timestamp   price        reason
    7        31       1483228800  1.50         null
    7        null     1483228800  1.50         item_id: null
    8        32       soon        -1           timestamp: not a time
"""

from __future__ import annotations

from dataclasses import asdict
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsys.config import Config, Events
from recsys.errors import DataError
from recsys.prepare import instants
from recsys.prepare.queries import Queries
from recsys.schemas import EVENT_NUMBERS, EVENTS, VALUE_WEIGHT
from recsys.tables import ROW, UNREADABLE

# An event, and, where it is at fault, why and what the log had.
CHECKED: dict[str, str] = {**EVENTS, "reason": "string", "row": "string"}

_ALWAYS = ("user_id", "item_id", "event_type", "timestamp")

# Microseconds of one unit, as a fraction.
_UNITS = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}
_NUMBERS = (T.IntegralType, T.FractionalType)


def present(events: Events) -> tuple[str, ...]:
    """The columns of EVENTS that the log has or is given.

    One of nulls costs as much as any other on its way through sort, Python and Parquet.
    """
    return tuple(
        name for name in EVENTS if name in _ALWAYS or getattr(events.columns, name) is not None
    )


def with_absent(found: DataFrame) -> DataFrame:
    """The columns of EVENTS that are not there, as nulls."""
    absent = {name: F.lit(None).cast(EVENTS[name]) for name in EVENTS if name not in found.columns}
    return found.withColumns(absent)


def input_columns(config: Config) -> tuple[str, ...]:
    """The columns of EVENTS that become input_arrays()."""
    columns = config.events.columns
    named = tuple(name for name in ("platform", "query") if getattr(columns, name))
    return named + number_columns(config)


def number_columns(config: Config) -> tuple[str, ...]:
    """Those of them that are numbers."""
    return tuple(name for name in EVENT_NUMBERS if name in config.prepare.event_numbers)


def queries(config: Config) -> Queries | None:
    """How the log's queries become ids; none where it has none."""
    prepare = config.prepare
    has_query = config.events.columns.query is not None
    return Queries(prepare.query_tokens, prepare.query_buckets) if has_query else None


def input_arrays(config: Config) -> tuple[str, ...]:
    """The arrays of events that a dataset has because its log has their column."""
    asked = queries(config)
    platform = ("platform",) if config.events.columns.platform else ()
    return platform + (asked.arrays if asked else ()) + number_columns(config)


def sequence_arrays(config: Config) -> tuple[str, ...]:
    """input_arrays(), and what else sequences have because the configuration asks for it."""
    weight = (VALUE_WEIGHT,) if config.prepare.weight_by_value else ()
    return input_arrays(config) + weight


def check(raw: DataFrame, events: Events, now: int) -> DataFrame:
    """Maps and converts the raw log's columns, and marks the rows that are at fault.

    Args:
        raw: of tables.read_events
        events: the section of the configuration
        now: microseconds since the epoch; later events are faults unless events.latest says more

    Returns:
        the columns of CHECKED; one row an event, none left out

    Raises:
        DataError: a column's type cannot hold what the mapping says
    """
    earliest = instants.micros("events.earliest", events.earliest)
    latest, latest_name = now, "now"
    if events.latest is not None:
        latest = instants.micros("events.latest", events.latest)
        latest_name = instants.iso(latest)
    columns = events.columns
    user_id, session_id, item_id = (_id(raw, name) for name in ("user_id", "session_id", "item_id"))
    event_type, timestamp = _event_type(raw, events), _micros(raw, events)
    session = session_id
    if events.sessions_of_users:
        session = F.concat(user_id, F.lit(":"), session_id)
    price, quantity, value = (_number(raw, name) for name in ("price", "quantity", "value"))
    position = _whole(_number(raw, "position"))
    lacks_item, query = item_id.isNull(), F.lit(None).cast("string")
    if columns.query:
        searches = event_type.isin(list(events.query_event_types))
        lacks_item &= ~F.coalesce(searches, F.lit(False))
        item_id, query = F.when(~searches, item_id), F.when(searches, F.col("query").cast("string"))
    faults = [
        (F.col(UNREADABLE).isNotNull(), f"row: not readable as {events.format}"),
        *([(user_id.isNull(), "user_id: null")] if columns.user_id else []),
        *([(session_id.isNull(), "session_id: null")] if columns.session_id else []),
        (lacks_item, "item_id: null"),
        (event_type.isNull(), "event_type: null"),
        (F.col("timestamp").isNull(), "timestamp: null"),
        (timestamp.isNull(), "timestamp: not a time"),
        (timestamp < earliest, f"timestamp: before {instants.iso(earliest)}"),
        (timestamp > latest, f"timestamp: after {latest_name}"),
        *_number_faults("price", price),
        *_number_faults("quantity", quantity),
        _number_faults("value", value)[0],
        (F.col("position").isNotNull() & position.isNull(), "position: not a whole number"),
        (position < 0, "position: negative"),
    ]  # fmt: skip
    reason = reduce(lambda chain, fault: chain.when(*fault), faults[1:], F.when(*faults[0]))
    return raw.select(
        (user_id if columns.user_id else session_id).alias("user_id"),
        session.alias("session_id"),
        item_id.alias("item_id"),
        event_type.alias("event_type"),
        timestamp.alias("timestamp"),
        F.col("platform").cast("string").alias("platform"),
        price.alias("price"),
        quantity.alias("quantity"),
        query.alias("query"),
        value.alias("value"),
        position.alias("position"),
        reason.alias("reason"),
        F.when(reason.isNotNull() & _may_show(events), F.to_json(_row(raw, events))).alias("row"),
    )


def _may_show(events: Events) -> Column:
    """Where ids are hashed, only what could be read: else one column may hold another's value."""
    return F.lit(events.user_key_variable is None) | F.col(UNREADABLE).isNull()


def _row(raw: DataFrame, events: Events) -> Column:
    """The raw row; where ids are hashed its mapped columns alone, without ids: what else a log
    has may say as clearly whose a row is.
    """
    if events.user_key_variable is None:
        return F.col(ROW)
    ids = {events.columns.user_id, events.columns.session_id}
    mapped = set(asdict(events.columns).values()) - ids
    names = raw.select(f"{ROW}.*").columns
    return F.struct(*[F.col(ROW)[name].alias(name) for name in names if name in mapped])


def _kind(raw: DataFrame, name: str, expected: str, *allowed: type[T.DataType]) -> T.DataType:
    kind = raw.schema[name].dataType
    if not isinstance(kind, allowed):
        raise DataError(
            f"events.columns.{name}: expected {expected}, found a column of type "
            f"{kind.simpleString()}"
        )
    return kind


def text_id(column: Column, kind: T.DataType) -> Column:
    """An identifier as text: numbers without a fraction, blank text as null."""
    if isinstance(kind, T.StringType):
        return F.when(F.trim(column) != "", column)
    if isinstance(kind, T.FloatType | T.DoubleType):
        # pandas turns whole numbers with gaps into floats: 7.0 is the user 7.
        whole = column.try_cast("bigint")
        return F.when(whole == column, whole.cast("string")).otherwise(
            F.when(~F.isnan(column), column.cast("string"))
        )
    return column.cast("string")


def _id(raw: DataFrame, name: str) -> Column:
    return text_id(F.col(name), _kind(raw, name, "text or a number", T.StringType, *_NUMBERS))


def _event_type(raw: DataFrame, events: Events) -> Column:
    if events.columns.event_type is None:
        return F.lit(events.default_event_type)
    kind = _kind(raw, "event_type", "text or a number", T.StringType, *_NUMBERS)
    found = text_id(F.col("event_type"), kind)
    if not events.event_types:
        return found
    renames = [F.lit(text) for pair in events.event_types.items() for text in pair]
    return F.coalesce(F.try_element_at(F.create_map(*renames), found), found)


def _number(raw: DataFrame, name: str) -> Column:
    _kind(raw, name, "a number", T.StringType, *_NUMBERS)
    return F.col(name).try_cast("double")


def _whole(number: Column) -> Column:
    """An int; null where there is none."""
    whole = number.try_cast("int")
    return F.when(whole == number, whole)


def _number_faults(name: str, number: Column) -> list[tuple[Column, str]]:
    infinite = F.abs(number) == float("inf")
    unusable = (F.col(name).isNotNull() & number.isNull()) | F.isnan(number) | infinite
    return [(unusable, f"{name}: not a number"), (number < 0, f"{name}: negative")]


def _micros(raw: DataFrame, events: Events) -> Column:
    column, unit = F.col("timestamp"), events.timestamp_unit
    kind = _kind(
        raw, "timestamp", "a time, text or a number",
        T.TimestampType, T.TimestampNTZType, T.DateType, T.StringType, *_NUMBERS,
    )  # fmt: skip
    if isinstance(kind, T.TimestampType | T.TimestampNTZType | T.DateType):
        return F.unix_micros(column.cast("timestamp"))
    is_text = isinstance(kind, T.StringType)
    if unit == "text":
        if not is_text:
            raise DataError(
                f"events.timestamp_unit: expected s, ms, us or ns, since the column "
                f"{events.columns.timestamp!r} is of type {kind.simpleString()}, found text"
            )
        # Spark would take 2017 for a year and 12:30 for today.
        dated = F.substring(column, 5, 1) == "-"
        return F.when(dated, F.unix_micros(column.try_cast("timestamp")))
    times, per = _UNITS[unit]
    number = column.try_cast("bigint") if is_text else column
    if per > 1:
        whole = F.floor(number.try_cast("decimal(20,0)") / per).cast("bigint")
    else:
        whole = F.try_multiply(number.try_cast("bigint"), F.lit(times))
    if isinstance(kind, T.IntegralType):
        return whole
    parts = F.round(column.try_cast("double") * (times / per)).try_cast("bigint")
    return F.coalesce(whole, parts) if is_text else parts
