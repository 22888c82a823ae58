"""A source's clock beside ours: which of the two bounds a window, and what is said where they differ.

Belongs here: what every collector and its `check` do alike. Not here: where a source tells its time (a `Date` header, a page).
"""

from __future__ import annotations

import datetime as dt

from audit_pipeline.lake.manifest import Remark
from audit_pipeline.sources.base import Collection, Probe

MAX_SKEW = dt.timedelta(minutes=1)
"""Difference that is not worth a word: a `Date` header tells whole seconds, and the way takes time."""


def earlier(collection: Collection, theirs: dt.datetime | None, whose: str, harm: str = "its stamps are wrong") -> dt.datetime:  # fmt: skip
    """The clock that is behind: nothing after it can have been shown. A difference becomes a remark; a made-up `now` is no clock.

    Args:
        collection: the asking, with our time.
        theirs: the source's; null where it does not tell.
        whose: such as `the store's`.
        harm: what a wrong clock of theirs does.
    """
    if theirs is None or collection.simulated:
        return collection.now
    skew = theirs - collection.now
    if abs(skew) > MAX_SKEW:
        word = "ahead" if skew > dt.timedelta(0) else "behind"
        collection.remarks.append(Remark("future", f"{whose} clock is {abs(skew).total_seconds():.0f} s {word}: mend the one that is wrong, {harm}"))  # fmt: skip
    return min(collection.now, theirs)


def clock(theirs: dt.datetime, now: dt.datetime, whose: str) -> Probe:
    """What `check` says of it."""
    skew = theirs - now
    word = "ahead of" if skew > dt.timedelta(0) else "behind"
    said = f"{whose} clock is {abs(skew).total_seconds():.0f} s {word} this machine's"
    good = abs(skew) <= MAX_SKEW
    return Probe("clock", good, said if good else f"{said}: mend the one that is wrong")
