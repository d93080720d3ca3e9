"""The queues of this process, by name."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meridian.core.message import Message
    from meridian.core.node import Node

__all__ = ["LocalQueue", "local_queue"]

MAXSIZE = 10_000
"""Most messages of a queue for which nobody said otherwise."""


class LocalQueue:
    """A bounded queue between nodes of this process, in one run or in several, in any threads.

    Args:
        maxsize: Most messages.

    Attributes:
        maxsize: Most messages; may be changed.
    """

    def __init__(self, maxsize: int = MAXSIZE) -> None:
        self.maxsize = maxsize
        self._items: deque[Message[Any]] = deque()
        self._lock = threading.Lock()
        self._consumers: list[Node] = []
        self._waiting: list[Node] = []

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Message[Any], producer: Node) -> bool:
        """Append ``item`` if there is room and wake consumers; else let ``producer`` tick when there is."""
        with self._lock:
            if len(self._items) >= self.maxsize:
                if producer not in self._waiting:
                    self._waiting.append(producer)
                return False
            self._items.append(item)
            woken = list(self._consumers)
        _wake(woken)
        return True

    def take(self) -> Message[Any] | None:
        """Remove the first message and return it; ``None`` if there is none."""
        with self._lock:
            if not self._items:
                return None
            item = self._items.popleft()
            woken, self._waiting = self._waiting, []
        _wake(woken)
        return item

    def put_back(self, item: Message[Any]) -> None:
        """Put ``item`` where it was: in front, even if the queue is full meanwhile."""
        with self._lock:
            self._items.appendleft(item)
            woken = list(self._consumers)
        _wake(woken)

    def join(self, consumer: Node) -> None:
        """Let ``consumer`` tick from now on when something comes."""
        with self._lock:
            self._consumers.append(consumer)
        consumer.tick_in(0)

    def leave(self, node: Node) -> None:
        """Let ``node`` tick no more."""
        with self._lock:
            for nodes in (self._consumers, self._waiting):
                if node in nodes:
                    nodes.remove(node)

    def has_consumers(self) -> bool:
        """Say whether somebody is there to take what it holds."""
        return bool(self._consumers)


def _wake(nodes: list[Node]) -> None:
    for node in nodes:
        node.tick_in(0)


_queues: dict[str, LocalQueue] = {}
_lock = threading.Lock()


def local_queue(key: str, maxsize: int | None) -> LocalQueue:
    """Return the queue of that name, as long as the process lives; a ``maxsize`` is its new bound."""
    with _lock:
        queue = _queues.setdefault(key, LocalQueue())
        if maxsize is not None:
            queue.maxsize = maxsize
        return queue
