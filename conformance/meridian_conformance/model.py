"""What an edge is, in lists: written from the rules, and from nothing else.

It is the first of three parties. The second, Meridian's own edge (`reference`), is held against it like any other
backend, so that a misreading that both implementations share is still found here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from meridian_conformance.contract import EMPTY, CoalesceError, EdgeSpec, Put, size_of


def decide(policy: str, capacity: int, size: int) -> Put:
    """Say what a policy does with one more item: the whole of it, without items.

    Pure, so that it can be enumerated, compared with other engines, and explored by CrossHair.

    pre: policy in ("block", "drop", "latest", "coalesce")
    pre: capacity >= 1
    pre: 0 <= size <= capacity
    post: (__return__ == "OK") == (size < capacity)
    post: __return__ == "OK" or __return__ != "BLOCKED" or policy == "block"
    """
    if size < capacity:
        return Put.OK
    if policy == "block":
        return Put.BLOCKED
    if policy == "drop":
        return Put.DROPPED
    if policy == "latest":
        return Put.REPLACED
    return Put.COALESCED


class TooLarge(ValueError):  # noqa: N818 - a condition of the model, not an error of anybody
    """The item alone has more bytes than the edge may ever hold."""


class Model:
    """An edge as the rules have it.

    Attributes:
        spec: What was opened.
        items: What is held, in order of delivery, CONTROL apart.
        control: CONTROL items that are held.
        born: When each of ``items`` came, in seconds of the spec's clock.
        closed: Nothing is taken any more.
        accepted: Items it took responsibility for.
        delivered: Items that were taken.
        merged: Items that went into another one.
        lost: Items that were lost, by cause.
    """

    def __init__(self, spec: EdgeSpec, merge: Callable[[Any, Any], Any]) -> None:
        self.spec = spec
        self.merge = merge
        self.items: list[Any] = []
        self.control: list[Any] = []
        self.born: list[float] = []
        self.closed = False
        self.accepted = self.delivered = self.merged = 0
        self.lost: Counter[str] = Counter()

    # ---- what is asked ---------------------------------------------------------------------------------------

    def depth(self) -> int:
        return len(self.control) + len(self.items)

    def held(self) -> list[Any]:
        return self.control + self.items

    def bytes(self) -> int:
        return sum(size_of(item) for item in self.items)

    def is_full_for(self, item: Any) -> bool:
        return self.depth() >= self.spec.capacity or self.exceeds(self.bytes() + size_of(item))

    def exceeds(self, n: int) -> bool:
        return self.spec.max_bytes is not None and n > self.spec.max_bytes

    # ---- what is done ----------------------------------------------------------------------------------------

    def expire(self) -> int:
        """Lose what is too old; return how many that were."""
        n = 0
        if self.spec.max_age_s is not None:
            now = self.spec.clock()
            while self.born and now - self.born[0] > self.spec.max_age_s:
                self.items.pop(0)
                self.born.pop(0)
                n += 1
            if n:
                self.lost["expired"] += n
        return n

    def put(self, item: Any) -> Put:
        if self.closed:
            return Put.CLOSED
        if self.exceeds(size_of(item)):
            raise TooLarge
        self.expire()
        full = self.is_full_for(item)
        answer = decide(
            self.spec.policy,
            self.spec.capacity,
            self.spec.capacity if full else min(self.depth(), self.spec.capacity - 1),
        )
        if answer is Put.BLOCKED:
            return answer
        self.accepted += 1
        if answer is Put.OK:
            self._append(item)
        elif answer is Put.DROPPED:
            self.lost["dropped"] += 1
        elif answer is Put.REPLACED:
            return self._replace(item)
        else:
            return self._coalesce(item)
        return answer

    def _append(self, item: Any) -> None:
        self.items.append(item)
        self.born.append(self.spec.clock())

    def _replace(self, item: Any) -> Put:
        while self.items and self.is_full_for(item):
            self.items.pop(0)
            self.born.pop(0)
            self.lost["replaced"] += 1
        if self.is_full_for(item):  # all that is held is CONTROL
            self.lost["dropped"] += 1
            return Put.DROPPED
        self._append(item)
        return Put.REPLACED

    def _coalesce(self, item: Any) -> Put:
        if not self.items:  # all that is held is CONTROL
            self.lost["dropped"] += 1
            return Put.DROPPED
        others = self.bytes() - size_of(self.items[-1])
        try:
            merged = self.merge(self.items[-1], item)
            if not self.exceeds(others + size_of(merged)):
                self.items[-1] = merged
                self.merged += 1
                return Put.COALESCED
        except CoalesceError:
            pass
        if self.exceeds(others + size_of(item)):
            self.lost["dropped"] += 1
            return Put.DROPPED
        self.items[-1] = item  # the newer one takes the place of the older
        self.lost["coalesce_error"] += 1
        return Put.COALESCED

    def put_control(self, item: Any) -> Put:
        if self.closed:
            return Put.CLOSED
        self.expire()
        if self.depth() >= self.spec.capacity:
            return Put.BLOCKED
        self.accepted += 1
        self.control.append(item)
        return Put.OK

    def get(self) -> Any:
        if self.control:
            self.delivered += 1
            return self.control.pop(0)
        self.expire()
        if not self.items:
            return EMPTY
        self.delivered += 1
        self.born.pop(0)
        return self.items.pop(0)

    def close(self) -> None:
        self.closed = True
