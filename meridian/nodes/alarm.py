"""When a node next has something to do, in whole microseconds of its clock.

Whole numbers, because deadlines are compared and added: an item that comes exactly when a window ends belongs to the next
one, however often the window has moved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meridian.core.node import Node

MILLISECOND = 1_000
"""Microseconds of a millisecond, the unit of all intervals that nodes take."""


def clock(node: Node) -> int:
    """Return microseconds of ``node``'s clock, which only differ meaningfully."""
    return round(node.now() * 1_000_000)


class Alarm:
    """One deadline of a node's, and the tick that it asks for.

    Args:
        node: Whose ticks it asks for.

    Attributes:
        at: Microseconds of the node's clock, or ``None`` while nothing is due ever.
    """

    __slots__ = ("_node", "at")

    def __init__(self, node: Node) -> None:
        self._node = node
        self.at: int | None = None

    def set_at(self, moment: int) -> None:
        """Set the deadline, instead of the one before."""
        self.at = moment
        self._node.tick_in((moment - clock(self._node)) / 1_000_000)

    def set_in(self, interval: int) -> None:
        """Set the deadline so many microseconds from now."""
        self.set_at(clock(self._node) + interval)

    def repeat(self, interval: int) -> None:
        """Set the deadline one interval after the one that is due, or after now if that has passed too."""
        now = clock(self._node)
        following = (now if self.at is None else self.at) + interval
        self.set_at(following if following > now else now + interval)

    def clear(self) -> None:
        """Have no deadline."""
        self.at = None

    def is_due(self) -> bool:
        """Say whether it is time; if not yet, ask for a tick again, as the one in hand had another reason.

        Less than a millisecond is no time: an interval of 1 ms, the shortest, means every tick.
        """
        if self.at is None:
            return False
        left = self.at - clock(self._node)
        if left < MILLISECOND:
            return True
        self._node.tick_in(left / 1_000_000)
        return False
