"""Instants as the tables hold them, microseconds since the epoch, and as people write them."""

from __future__ import annotations

import datetime

from recsys.errors import ConfigError

MICROSECONDS_PER_SECOND = 1_000_000
MICROSECONDS_PER_MINUTE = 60 * MICROSECONDS_PER_SECOND
MICROSECONDS_PER_DAY = 1_440 * MICROSECONDS_PER_MINUTE

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def micros(key: str, text: str) -> int:
    """An ISO 8601 date or time as microseconds; UTC where it names no zone.

    >>> micros("prepare.test_start", "1970-01-02")
    86400000000

    Raises:
        ConfigError: names the key
    """
    try:
        instant = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{key}: expected a date or time in ISO 8601, found {text!r}") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=datetime.UTC)
    return (instant - _EPOCH) // datetime.timedelta(microseconds=1)


def date(day: int) -> str:
    """The date of a day since the epoch.

    >>> date(31)
    '1970-02-01'
    """
    return (_EPOCH + datetime.timedelta(days=day)).date().isoformat()


def now() -> int:
    """This instant."""
    return (datetime.datetime.now(datetime.UTC) - _EPOCH) // datetime.timedelta(microseconds=1)


def iso(instant: int) -> str:
    """The instant in ISO 8601.

    >>> iso(86_400_000_000)
    '1970-01-02T00:00:00Z'
    """
    try:
        moment = _EPOCH + datetime.timedelta(microseconds=instant)
    except OverflowError:
        return f"{instant} microseconds since the epoch"
    return moment.isoformat().replace("+00:00", "Z")
