"""Text as token ids that are the same on every machine, for prepare and for whoever asks a model.

"Röde  LÖPARSKOR, 42!"  ->  röde löparskor 42  ->  [5291, 871, 3044, 0]
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Iterable
from itertools import pairwise


def words(text: str) -> list[str]:
    """The words of a text: Unicode NFKC, without case, cut at whatever is no letter or number."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = [sign if _is_of_word(sign) else " " for sign in folded]
    return "".join(kept).split()


def _is_of_word(sign: str) -> bool:
    # Letters, the marks that belong to them, and numbers.
    return unicodedata.category(sign)[0] in "LMN"


def token_id(token: str, buckets: int) -> int:
    """A number from 1 to the number of buckets, by BLAKE2b of the token's UTF-8."""
    digest = hashlib.blake2b(token.encode(), digest_size=8).digest()
    return 1 + int.from_bytes(digest, "little") % buckets


def query_tokens(query: str, tokens: int, buckets: int) -> list[int]:
    """The ids of the first words of a query; 0 fills up.

    >>> query_tokens("Red  SHOES!", 3, 1000) == query_tokens("red shoes", 3, 1000)
    True

    Args:
        query: as it was typed
        tokens: how many ids there are
        buckets: different ids above 0
    """
    return _filled((token_id(word, buckets) for word in words(query)[:tokens]), tokens)


def _filled(ids: Iterable[int], count: int) -> list[int]:
    found = list(ids)
    return found + [0] * (count - len(found))


def ngrams(text: str, width: int) -> list[float]:
    """A text as a vector of length 1: its words, pairs of them and threes of letters, hashed.

    The sign of an entry is hashed, too, so that what falls together does not add up (Weinberger
    et al., ICML 2009). A text without words is a vector of zeros.
    """
    own = words(text)
    grams = [*own, *(f"{first} {second}" for first, second in pairwise(own))]
    grams += [f"#{part}" for word in own for part in _threes(f" {word} ")]
    found = [0.0] * width
    for gram in grams:
        place = token_id(gram, 2 * width) - 1
        found[place // 2] += 1.0 if place % 2 else -1.0
    length = math.sqrt(sum(entry * entry for entry in found))
    return [entry / length for entry in found] if length else found


def _threes(text: str) -> list[str]:
    return [text[start : start + 3] for start in range(len(text) - 2)]
