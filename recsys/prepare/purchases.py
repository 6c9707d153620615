"""Which targets end in a purchase: what the purchase head learns, decided here and nowhere else.

A target asks whether an item comes next; its label says whether the user buys that item then or
later in the same session (of session_start). It is there only where all of this holds:

- the item is in the vocabulary, and is not only bought at that instant but does something before
  a purchase too (it is looked at, put in a cart, ...): a purchase alone is no question;
- the session's last instant is of the target's own split, so that no label tells of a later one;
- the session is known to have ended: something of another session follows, or the log goes on
  long enough after it, or the log names its sessions;
- it ends within a row's length of events, so that what must be kept in memory has a bound.

    purchase:  view 7 | view 3 | cart 7 | buy 7 | view 7 || view 9 (the log ends a minute later)
    label      2        1        2        0       1         0
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.prepare.cutting import Bools, Ints, ends
from recsys.prepare.sessions import Rules
from recsys.schemas import BOUGHT, FIRST_ITEM, NO_LABEL, NOT_BOUGHT


@dataclass(frozen=True)
class Purchases:
    """What the labels depend on.

    Args:
        types: indexes of the event types that buy
        pauses: when a session ends; none where the log names its sessions
        log_end: the last instant of the log, microseconds
    """

    types: tuple[int, ...]
    pauses: Rules | None
    log_end: int

    def is_past(self, time: Ints) -> Bools:
        """Whether a session that ended at an instant would be over by the log's end."""
        if self.pauses is None:
            return np.ones(len(time), np.bool_)
        return self.pauses.ended(time, np.full(len(time), self.log_end))


@dataclass(frozen=True)
class Sessions:
    """Where the sessions of the steps at hand end.

    Args:
        last: the last step at hand of each step's session
        is_over: whether the session has no step beyond those at hand, and is known to have ended
        events_left: events from the end of each step to that of its session
    """

    last: Ints
    is_over: Bools
    events_left: Ints


def sessions(
    opens: Bools, subject: Bools, step_event: Ints, is_final: Bools, is_past: Bools
) -> Sessions:
    """Where the sessions end.

    Args:
        opens: whether a session starts with a step
        subject: whether a subject does
        step_event: the first event of each step, and the number of events
        is_final: whether no more steps of a step's subject will come
        is_past: whether a session that ended with this step would be over by the log's end
    """
    run = opens | subject
    last = ends(run)
    is_followed = last < ends(subject)
    return Sessions(
        last=last,
        is_over=is_followed | (is_final & is_past[last]),
        events_left=step_event[last + 1] - step_event[np.arange(len(run)) + 1],
    )


def labels(
    item: Ints, is_purchase: Bools, step: Ints, part: Ints, sessions: Sessions, most_events: int
) -> Ints:
    """The label of each event, were it a target: NO_LABEL, NOT_BOUGHT or BOUGHT.

    Args:
        item: index in the vocabulary
        is_purchase: whether the event is one
        step: of the event, numbered through all subjects
        part: the split of each step
        sessions: of the steps
        most_events: sessions that go on for longer after a step give no labels
    """
    size = int(item.max(initial=0)) + 1
    session = sessions.last[step]
    bought, last_step = _last(session[is_purchase] * size + item[is_purchase], step[is_purchase])
    is_bought = _found(bought, last_step, session * size + item) >= step
    looked_at = np.unique(step[~is_purchase] * size + item[~is_purchase])
    is_asked = ~is_purchase | np.isin(step * size + item, looked_at)
    is_known = sessions.is_over & (sessions.events_left <= most_events)
    is_known &= part[sessions.last] == part
    label = np.where(is_bought, BOUGHT, NOT_BOUGHT)
    return np.where(is_asked & is_known[step] & (item >= FIRST_ITEM), label, NO_LABEL)


def _last(key: Ints, step: Ints) -> tuple[Ints, Ints]:
    """The distinct keys, rising, and the last step of each."""
    order = np.lexsort((step, key))
    is_last = np.append(key[order][1:] != key[order][:-1], True)[: len(key)]
    return key[order][is_last], step[order][is_last]


def _found(keys: Ints, values: Ints, wanted: Ints) -> Ints:
    """The value of each wanted key; -1 where there is none."""
    if len(keys) == 0:
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], -1)
