"""v1's home of `PriorityBand`."""

from __future__ import annotations

from enum import IntEnum


class PriorityBand(IntEnum):
    """How urgent the messages of an edge are."""

    CONTROL = 3
    HIGH = 2
    NORMAL = 1
