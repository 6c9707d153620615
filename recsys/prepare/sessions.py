"""Which events open a session, and what a session is called.

A session is as given in the log, or ends with a pause longer than the gap; its id is then
"<user_id>-<ordinal>", so that it depends on no other user:

    user_id  timestamp  (gap 30 minutes)  session_id
    a        09:00                        a-0
    a        09:30                        a-0
    a        10:01                        a-1
    b        10:01                        b-0
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.prepare.cutting import Bools, Ints, starts


def numbers(session_change: Bools, user_change: Bools, first_number: int) -> Ints:
    """The ordinal of every event's session within its user.

    Args:
        session_change: whether an event is the first of its session
        user_change: whether it is the first of its user here
        first_number: of the first event's session
    """
    running = np.cumsum(session_change)
    number = running - running[starts(user_change)]
    number[: _first_run(user_change)] += first_number
    return np.asarray(number, dtype=np.int64)


def _first_run(change: Bools) -> int:
    later = np.flatnonzero(change[1:])
    return int(later[0]) + 1 if len(later) else len(change)


def opened(session_id: pa.Array, user: Ints, step: Ints, seen: Collection[str]) -> Bools:
    """Whether an event belongs to the first step of a session that the log names.

    Sessions of one user may interleave (two devices): only the first step of each counts.

    Args:
        session_id: of every event, in time order within a user
        user: number of the event's user here, not falling
        step: number of the event's step here, not falling
        seen: sessions of user 0 that opened before these events
    """
    encoded = session_id.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    key = user * len(encoded.dictionary) + codes
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    opens = np.asarray(step == step[first][inverse], dtype=np.bool_)
    if seen:
        known = pc.is_in(session_id, value_set=pa.array(list(seen), session_id.type))
        opens &= ~((user == 0) & known.to_numpy(zero_copy_only=False))
    return opens
