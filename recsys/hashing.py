"""User and session ids as keyed hashes, so that who lacks the key cannot tell whose a row is.

HMAC-SHA256 (RFC 2104): H(key ^ outer pad, H(key ^ inner pad, id)), as hexadecimal digits. The key
comes from an environment variable. It is in no plan of Spark's either, and so in none of its logs:
the two padded keys are a table of one row that is joined to the ids.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recsys.config import Events
from recsys.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# How the manifest calls what its user ids are.
AS_LOGGED, HASHED = "as in the log", "HMAC-SHA256"

_BLOCK_BYTES = 64
_LEAST_KEY_BYTES = 32
_WHICH_KEY = b"\0which key of recsys"  # no id: they have no zero bytes


@dataclass(frozen=True)
class Key:
    """What turns ids into hashes.

    Args:
        secret: the key itself
    """

    secret: bytes = field(repr=False)

    def hashed(self, name: str) -> str:
        """The hash of one id, 64 hexadecimal digits."""
        return hmac.new(self.secret, name.encode(), hashlib.sha256).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Tells two keys apart and nothing more, sixteen hexadecimal digits."""
        return hmac.new(self.secret, _WHICH_KEY, hashlib.sha256).hexdigest()[:16]

    def padded(self) -> tuple[bytes, bytes]:
        """The key XORed with the inner and the outer pad, a block each."""
        is_long = len(self.secret) > _BLOCK_BYTES
        short = hashlib.sha256(self.secret).digest() if is_long else self.secret
        block = short.ljust(_BLOCK_BYTES, b"\0")
        inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
        return inner, outer


def key_of(events: Events) -> Key | None:
    """The key that the configuration names; none where ids stay as they are.

    Raises:
        ConfigError: the variable is not set or too short; its value is not shown
    """
    name = events.user_key_variable
    if name is None:
        return None
    secret = os.environ.get(name, "").encode()
    if len(secret) < _LEAST_KEY_BYTES:
        found = "a shorter one" if secret else "none"
        raise ConfigError(
            f"events.user_key_variable: expected a key of at least {_LEAST_KEY_BYTES} characters "
            f"in the environment variable {name}, found {found}"
        )
    return Key(secret)


def key_for(events: Events, fingerprint: str | None) -> Key | None:
    """The key that the configuration names, if it is that of a dataset.

    Args:
        events: the section of the configuration
        fingerprint: of the manifest; none where its ids are those of the log

    Raises:
        ConfigError: no key, another one, or one where ids are not hashed
    """
    key = key_of(events)
    found = key.fingerprint if key else None
    if found != fingerprint:
        names = [f"the key {of}" if of else "no key" for of in (fingerprint, found)]
        raise ConfigError(
            f"events.user_key_variable: expected {names[0]}, by which the dataset's user ids "
            f"{'are' if fingerprint else 'are not'} hashed, found {names[1]} (fingerprints)"
        )
    return key


def keyed(frame: DataFrame, columns: tuple[str, ...], key: Key) -> DataFrame:
    """The frame with the ids of some text columns hashed; null stays null."""
    from pyspark.sql import functions as F

    pads = frame.sparkSession.createDataFrame([key.padded()], "inner_pad binary, outer_pad binary")
    hashed = {}
    for name in columns:
        inside = F.sha2(F.concat("inner_pad", F.encode(name, "UTF-8")), 256)
        hashed[name] = F.sha2(F.concat("outer_pad", F.unhex(inside)), 256)
    joined = frame.crossJoin(F.broadcast(pads))
    return joined.withColumns(hashed).select(*frame.columns)
