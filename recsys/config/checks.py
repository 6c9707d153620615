"""How a value of the configuration is judged, where its section is built."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from recsys.errors import ConfigError


def require(holds: bool, key: str, expected: str, found: object) -> None:
    """Refuse an impossible value.

    Raises:
        ConfigError: naming the key, what was expected and what was found
    """
    if not holds:
        raise ConfigError(f"{key}: expected {expected}, found {found!r}")


def require_once(key: str, names: Sequence[str]) -> None:
    """Refuse a list that has a name twice.

    Raises:
        ConfigError: naming the key and the first such name
    """
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    require(not twice, key, "each name once", ", ".join(twice[:1]))


def require_instant(key: str, text: str | None) -> None:
    """Refuse what is no date or time; null passes.

    Raises:
        ConfigError: naming the key
    """
    if text is None:
        return
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        require(False, key, "a date or time in ISO 8601", text)
