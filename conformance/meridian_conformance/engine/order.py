"""Order per edge, judged as items are handled: each stands in what was put, behind the one before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meridian_conformance.require import seen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meridian_conformance.engine.contract import Link


class OrderJudge:
    """Compares what an edge delivered with what was put on it, and never looks at the same item twice.

    Args:
        n: The edge's number.
        link: The edge.
        offered: What was put on it from outside, and was taken.
        sent: CONTROL that was put on it, and was taken.
        require: Breaks a rule unless something holds.
    """

    def __init__(
        self, n: int, link: Link, offered: list[int], sent: list[int], require: Callable[..., None]
    ) -> None:
        self.n = n
        self.strict = link.lossless
        self.offered = offered
        self.sent = sent
        self.require = require
        self._handled = self._obeyed = self._from_node = self._from_outside = 0

    def look(self, handled: Sequence[int], obeyed: Sequence[int], emitted: Sequence[int]) -> None:
        """Judge what was delivered since the last look.

        Args:
            handled: All data that the edge delivered.
            obeyed: All CONTROL that it delivered.
            emitted: All that its source has emitted.
        """
        if len(obeyed) > self._obeyed:
            self._obeyed = len(obeyed)
            self.require(
                "ENGINE-503", obeyed == self.sent[: len(obeyed)], edge=self.n, sent=self.sent, obeyed=obeyed
            )
        for item in handled[self._handled :]:
            if item in self.offered:
                self._from_outside = self._behind(item, self.offered, self._from_outside)
            else:
                self._from_node = self._behind(item, emitted, self._from_node)
        self._handled = len(handled)
        if len(handled) > 1:
            seen("ENGINE-503", "an edge delivered several items")

    def _behind(self, item: Any, put: Sequence[int], at: int) -> int:
        """Find ``item`` in ``put`` at ``at``, or behind it where some may be lost; return where the next one may stand."""
        if self.strict:
            found = at if put[at : at + 1] == [item] else -1
        else:
            found = put.index(item, at) if item in put[at:] else -1
        self.require(
            "ENGINE-503", found >= 0, edge=self.n, delivered=item, expected_of=list(put[at : at + 20])
        )
        return found + 1
