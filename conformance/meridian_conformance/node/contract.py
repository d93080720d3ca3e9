"""What a node implements so that the kit can judge it.

Ready-made nodes do well-known work: they pass, filter, route, batch or throttle. Whoever does that work in another way, in
native code for instance, has to come to the same. A backend is one class::

    class Backend:
        capabilities = {"batch"}

        def open(self, spec: NodeSpec) -> Bench: ...  # a fresh node with its edges, each time

and what it opens is a *bench*: one node between an input edge and an edge for each of its outputs. All of these edges block.

Two kinds of work are asked of everybody, ``pass`` and ``filter``. The others are capabilities of that name: ``route``, ``batch``,
``throttle``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "pass": (),
    "filter": ("by", "on_error"),
    "route": ("by", "default"),
    "batch": ("size", "within_s"),
    "throttle": ("rate", "burst"),
}
"""What nodes do, and what there is to say about it besides: fields of `NodeSpec`."""

DATA: Final = "DATA"
ERROR: Final = "ERROR"
CONTROL: Final = "CONTROL"
LEFT: Final = "left"
RIGHT: Final = "right"


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What node is to be opened, between which edges.

    Attributes:
        kind: Its work. ``pass``: all data leaves. ``filter``: data leaves if `keeps` holds of its payload. ``route``: data leaves on
            the output that `way` names. ``batch``: data leaves in lists of `size`. ``throttle``: data leaves at a rate.
        by: What `keeps` and `way` look at: ``field``, a key of the payload; or ``type``.
        on_error: Of a filter: what becomes of data for which `keeps` raises. ``record``: nothing leaves. ``emit``: an ERROR leaves in its
            place, whatever its payload. Either way it counts as one failure.
        default: Of a route: data for which `way` names no output, or raises, leaves on the first output; otherwise it is dropped. Where
            it raises, that is one failure.
        size: Of a batch.
        within_s: Of a batch: a list leaves, full or not, when its first item has been held for so many seconds; or ``None``.
        rate: Of a throttle: how many tokens its bucket gains in a second; one that is held back takes no more of these than it needs.
        burst: How many tokens the bucket holds at most. It is full at first, and each item that leaves costs one.
        capacity: Most messages on each of the edges.
        clock: Tells seconds; time is told by it and by nothing else, and passes only between two calls.
    """

    kind: str = "pass"
    by: str = "field"
    on_error: str = "record"
    default: bool = False
    size: int = 3
    within_s: float | None = None
    rate: float = 2.0
    burst: int = 2
    capacity: int = 2
    clock: Callable[[], float] = field(default=time.monotonic, compare=False, repr=False)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs: two of a route, one of all others."""
        return (LEFT, RIGHT) if self.kind == "route" else ("output",)

    def keeps(self, payload: Any) -> bool:
        """Say whether a filter lets data with that payload leave.

        Raises:
            KeyError: the field isn't there.
        """
        return isinstance(payload, str) if self.by == "type" else bool(payload["keep"])

    def way(self, payload: Any) -> str | None:
        """Return the output on which data with that payload leaves; anything else names none.

        Raises:
            KeyError: the field isn't there.
        """
        if self.by == "type":
            return LEFT if isinstance(payload, str) else RIGHT if isinstance(payload, int) else None
        way: str = payload["to"]
        return way

    def to_json(self) -> dict[str, Any]:
        """Return the form that failure files use: what matters for its kind."""
        return {name: getattr(self, name) for name in ("kind", *KINDS[self.kind], "capacity")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NodeSpec:
        """Make one from that form; absent fields have their defaults."""
        return cls(**data)


@runtime_checkable
class Bench(Protocol):
    """What a backend opens. All calls come from one thread."""

    def put(self, kind: str, item: Any, /) -> str:
        """Put a message on the input edge: ``OK``, or ``BLOCKED`` when it is full.

        ``DATA`` and ``ERROR`` stand in one line. ``CONTROL`` overtakes them: while outputs have room it is handled after one
        slice of other work at most. ERROR and CONTROL leave on every output, as they came; a batch lets what it holds leave in
        front of CONTROL.
        """
        ...

    def step(self) -> bool:
        """Run one slice: handle some messages, or do what time, room or the end of the input has made due.

        Returns:
            Whether there may be more to do at this moment; ``False`` only at rest.
        """
        ...

    def take(self, output: str, /) -> Any:
        """Take the next message from an output edge, as a pair of its kind and its payload, CONTROL first; or `EMPTY`."""
        ...

    def waiting(self) -> int:
        """Return how many messages wait on the input edge, CONTROL not counted."""
        ...

    def depth(self, output: str, /) -> int:
        """Return how many messages wait on an output edge, CONTROL not counted."""
        ...

    def errors(self) -> int:
        """Return how often a test or a rule has raised."""
        ...

    def end(self) -> None:
        """Say that nothing more will be put. A batch then lets leave what it holds, once nothing waits for it; a throttle goes on."""
        ...


@runtime_checkable
class NodeBackend(Protocol):
    """What a third party writes."""

    capabilities: Collection[str]

    def open(self, spec: NodeSpec, /) -> Bench:
        """Open a fresh node between empty edges. Only asked for kinds that it claims."""
        ...
