"""How a value of the configuration is judged, where its section is built."""

from __future__ import annotations

from recsys.errors import ConfigError


def require(holds: bool, key: str, expected: str, found: object) -> None:
    """Refuse an impossible value.

    Raises:
        ConfigError: naming the key, what was expected and what was found
    """
    if not holds:
        raise ConfigError(f"{key}: expected {expected}, found {found!r}")
