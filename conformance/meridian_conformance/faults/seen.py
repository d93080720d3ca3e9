"""Faults of what others see: counters and words."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from meridian_conformance.contract import Put
from meridian_conformance.faults import FaultyEdge

if TYPE_CHECKING:
    from meridian_conformance.contract import Counters


class CountsReplacedTwice(FaultyEdge, rule="EDGE-130"):
    """Counts a replaced item as replaced and as dropped."""

    def counters(self) -> Counters:
        told = dict(super().counters())
        replaced = told["lost"].get("replaced", 0)
        if replaced:
            told["lost"]["dropped"] = told["lost"].get("dropped", 0) + replaced
            told["accepted"] += replaced
        return told


class CountsRefusedAsAccepted(FaultyEdge, rule="EDGE-130"):
    """Counts every put."""

    refused = 0

    def put(self, item: Any) -> str:
        result = super().put(item)
        self.refused += result == Put.BLOCKED
        return result

    def counters(self) -> Counters:
        told = super().counters()
        return {**told, "accepted": told["accepted"] + self.refused}


class CountsUnderTheWrongCause(FaultyEdge, rule="EDGE-130"):
    """Has one number for all losses."""

    def counters(self) -> Counters:
        told = super().counters()
        n = sum(told["lost"].values())
        return {**told, "lost": {"dropped": n} if n else {}}


class PayloadInError(FaultyEdge, rule="EDGE-131"):
    """Says what it was given when it was closed."""

    def put(self, item: Any) -> str:
        try:
            return super().put(item)
        except ValueError as error:
            raise ValueError(f"{item!r} is too large") from error


class PayloadInRepr(FaultyEdge, rule="EDGE-131"):
    """Shows its storage."""

    def __repr__(self) -> str:
        return f"<edge {list(self.ring.items)}>"


class PayloadInLog(FaultyEdge, rule="EDGE-131"):
    """Logs what it drops."""

    def put(self, item: Any) -> str:
        result = super().put(item)
        if result == Put.DROPPED:
            logging.getLogger("faulty.edge").debug("dropped %s", item)
        return result


class PayloadInCounters(FaultyEdge, rule="EDGE-131"):
    """Counts by item."""

    last: Any = None

    def put(self, item: Any) -> str:
        self.last = item
        return super().put(item)

    def counters(self) -> Counters:
        return {**super().counters(), f"last {self.last!r}": 1}
