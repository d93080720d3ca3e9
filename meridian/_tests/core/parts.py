"""Small nodes, and short runs, that the tests of the core share."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Any

from meridian import (
    Edge,
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    PortSpec,
    Scheduler,
    SchedulerConfig,
    Subgraph,
)

DATA, CONTROL, ERROR = MessageType.DATA, MessageType.CONTROL, MessageType.ERROR
IN, OUT = PortDirection.INPUT, PortDirection.OUTPUT


def data(payload: Any, **headers: Any) -> Message[Any]:
    return Message(DATA, payload, headers=headers or None)


def control(payload: Any = None) -> Message[Any]:
    return Message(CONTROL, payload)


def inputs(*names: str, schema: Any = None) -> list[Port]:
    return [Port(name, IN, spec=PortSpec(name, schema)) for name in names]


def outputs(*names: str, schema: Any = None) -> list[Port]:
    return [Port(name, OUT, spec=PortSpec(name, schema)) for name in names]


def edge(capacity: int = 4, policy: Any = None, schema: Any = None) -> Edge[Any]:
    spec = PortSpec("in", schema) if schema is not None else None
    return Edge("a", Port("out", OUT), "b", Port("in", IN), capacity, spec, policy)


def taken(of: Edge[Any]) -> list[Any]:
    """Take everything off an edge by hand."""
    return [of.try_get() for _ in range(of.depth())]


def payloads(items: Iterable[Any]) -> list[Any]:
    return [item.payload if isinstance(item, Message) else item for item in items]


class Burst(Node):
    """Emits its payloads when it starts."""

    def __init__(self, name: str, items: Iterable[Any], port: str = "out") -> None:
        super().__init__(name, outputs=outputs(port))
        self.items = list(items)
        self.port = port

    def on_start(self) -> None:
        for item in self.items:
            self.emit(self.port, item if isinstance(item, Message) else data(item))


class TickBurst(Node):
    """Emits its payloads, all at its first tick."""

    def __init__(self, name: str, items: Iterable[Any], port: str = "out") -> None:
        super().__init__(name, outputs=outputs(port))
        self.items = list(items)
        self.port = port

    def _handle_tick(self) -> None:
        items, self.items = self.items, []
        for item in items:
            self.emit(self.port, item if isinstance(item, Message) else data(item))


class Collect(Node):
    """Keeps what it gets; stops the scheduler, if it was given one, after ``until`` messages."""

    def __init__(self, name: str, *ports: str, schema: Any = None) -> None:
        super().__init__(name, inputs=inputs(*(ports or ("in",)), schema=schema))
        self.messages: list[Message[Any]] = []
        self.ports: list[str] = []
        self.stop: Callable[[], None] | None = None
        self.until = 0

    @property
    def got(self) -> list[Any]:
        return payloads(self.messages)

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.messages.append(msg)
        self.ports.append(port)
        if self.stop is not None and len(self.messages) >= self.until:
            self.stop()


class Relay(Node):
    """Passes everything on from ``in`` to ``out``."""

    def __init__(self, name: str) -> None:
        super().__init__(name, inputs=inputs("in"), outputs=outputs("out"))

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.emit("out", msg)


class Ticker(Node):
    """Emits 0, 1, 2, … one a tick, for ever."""

    def __init__(self, name: str = "ticker") -> None:
        super().__init__(name, outputs=outputs("out"))
        self.ticks = 0

    def _handle_tick(self) -> None:
        self.emit("out", data(self.ticks))
        self.ticks += 1


def scheduler(*units: Node | Subgraph, **config: Any) -> Scheduler:
    """Make a scheduler that ticks every millisecond and ends, v1 style, after 0.05 s."""
    made = Scheduler(
        SchedulerConfig(**{"tick_interval_ms": 1, "shutdown_timeout_s": 0.05, "idle_sleep_ms": 0, **config})
    )
    for unit in units:
        made.register(unit)
    return made


def chain(*nodes: Node, capacity: int = 1024, policy: Any = None, name: str = "chain") -> Subgraph:
    """Connect ``out`` of each node to ``in`` of the next."""
    made = Subgraph.from_nodes(name, nodes)
    for one, other in itertools.pairwise(nodes):
        made.connect((one.name, "out"), (other.name, "in"), capacity, policy)
    return made


def run(*units: Node | Subgraph, **config: Any) -> Scheduler:
    made = scheduler(*units, **config)
    made.run()
    return made


def in_thread(call: Callable[[], Any]) -> threading.Thread:
    """Start a thread that fails the test, through pytest's own hook, if it raises."""
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def join(thread: threading.Thread, seconds: float = 10.0) -> None:
    thread.join(seconds)
    assert not thread.is_alive()
