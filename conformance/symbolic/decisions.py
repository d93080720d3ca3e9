"""What becomes of an item at an edge, for CrossHair to look at: by the rules, by the engine, and by a twin with a bug.

All three have one signature and answer nothing out of their domain, since CrossHair compares functions there too. Policies are
numbers here: a solver knows what a number is not, while of texts there is no end.
"""

from __future__ import annotations

from typing import Final

from meridian.core.policies import Block, Coalesce, Drop, Latest
from meridian_conformance import model

NAMES: Final = ("block", "drop", "latest", "coalesce")
ENGINE: Final = (Block(), Drop(), Latest(), Coalesce(max))

RARE: Final = 65_537
"""A capacity that nobody would think to try, and the only one at which the twin is wrong."""


def by_the_rules(policy: int, capacity: int, size: int) -> str:
    """Decide as the kit's model does, which was written from the rules alone."""
    if not (0 <= policy < 4 and 0 <= size <= capacity and capacity >= 1):
        return ""
    return str(model.decide(NAMES[policy], capacity, size))


def by_the_engine(policy: int, capacity: int, size: int) -> str:
    """Decide as the engine does: with the one function that its policies share.

    pre: 0 <= policy < 4
    pre: capacity >= 1
    pre: 0 <= size <= capacity
    post: (__return__ == "OK") == (size < capacity)
    post: __return__ in ("OK", ("BLOCKED", "DROPPED", "REPLACED", "COALESCED")[policy])
    """
    if not (0 <= policy < 4 and 0 <= size <= capacity and capacity >= 1):
        return ""
    return ENGINE[policy].on_enqueue(capacity, size, None).name


def by_the_twin(policy: int, capacity: int, size: int) -> str:
    """Decide as the engine does, but find room on a full edge of one capacity.

    pre: 0 <= policy < 4
    pre: capacity >= 1
    pre: 0 <= size <= capacity
    post: (__return__ == "OK") == (size < capacity)
    post: __return__ in ("OK", ("BLOCKED", "DROPPED", "REPLACED", "COALESCED")[policy])
    """
    if size == capacity == RARE:
        size -= 1
    return by_the_engine(policy, capacity, size)
