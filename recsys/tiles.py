"""Rows in such numbers that the last bits of what is computed for one do not depend on its place.

Products of matrices (oneDNN's, which TensorFlow's CPU kernels call) go by tiles of 4, 6 or 8 rows,
as the processor has SSE, AVX2 or AVX-512. On AVX2 up to three rows that are left over add in
another order. Nor is a product of many rows there like one of few: oneDNN makes it by another
kernel where 1 / rows + 1 / columns < 0.0038, that is of more than 263 rows, and TensorFlow may make
its last part for itself. Elementwise functions take 8 numbers at a time, and what is left over by
other code, on every processor. So rows come in whole tiles, and not too many; what fills up stands
last.

That a user's bits are its own `tests/score/test_tiles.py` shows, by the kernels of each kind of
processor.
"""

from __future__ import annotations

# A multiple of every tile, and of the numbers that elementwise functions take at a time.
TILE = 24
# Of one product.
MOST_ROWS = 240
# Of one block: a tile of rows fills it up.
MOST_USERS = MOST_ROWS - TILE


def whole(rows: int) -> int:
    """The rows that fill whole tiles where there are at least so many."""
    return -(-rows // TILE) * TILE
