"""Asynchronous additions to v1's nodes: few, and each good for one thing.

Function nodes (`meridian.node`, `meridian.source`, `meridian.sink`) are the first choice; what is here has state or time
that a function can't have.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from meridian.core.function import FnNode, NodeFunction, SourceNode, source
from meridian.core.message import CONTROL, DATA, Message, wrap
from meridian.core.policies import ErrorPolicy
from meridian.nodes import arguments
from meridian.nodes.alarm import Alarm
from meridian.nodes.base import FunctionNode, NodeConfig, setup_standard_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Sequence

__all__ = ["AsyncMap", "Batch", "Debounce", "Join", "JoinStrategy", "from_async_iterable"]


def from_async_iterable(
    name: str, items: Callable[[], AsyncIterable[Any]] | AsyncIterable[Any]
) -> SourceNode:
    """Make a source that sends each item of an asynchronous iterable on its port ``output``.

    It asks for the next item when there is room for it, so that backpressure reaches whatever the items come from, and ends
    when the iterable does. A stop cancels the wait for the next item and closes the iterator. Supersedes `DataProducer` for
    whatever is awaited.

    Args:
        name: Unique within its graph.
        items: The iterable, or a function that makes one for each run.

    Raises:
        TypeError: it is neither.

    Example:
        ```python
        import asyncio

        from meridian import Scheduler, graph, sink
        from meridian.nodes import from_async_iterable


        async def readings():
            for celsius in (20.5, 21.0):
                await asyncio.sleep(0.001)
                yield celsius


        got = []
        scheduler = Scheduler()
        scheduler.register(
            graph("g", from_async_iterable("sensor", readings) >> sink(got.append))
        )
        scheduler.run()
        assert got == [20.5, 21.0]
        ```
    """
    if not (callable(items) or hasattr(items, "__aiter__")):
        raise TypeError(
            f"source {name!r}: items must be an asynchronous iterable or a function that makes one, got {type(items).__name__}"
        )
    return source(items, name=name)


class AsyncMap(FnNode):
    """Awaits a coroutine function for each payload, several at a time.

    While ``concurrency`` messages are in work, no more are taken. Results keep the trace of their message. Supersedes `AsyncWorker`,
    and `TimeoutNode` with an ``asyncio.timeout`` in the function.

    Args:
        name: Unique within its graph.
        fn: ``await fn(payload)``; ``None`` as result emits nothing.
        concurrency: Most calls at a time.
        ordered: Results leave in the order of their messages; a slow one holds back those behind it. Otherwise as they come.
        on_error: What a failing call means.

    Raises:
        TypeError: ``fn`` is no coroutine function.
        ValueError: ``concurrency`` is less than 1.

    Example:
        ```python
        import asyncio

        from meridian import graph, sink, source
        from meridian.nodes import AsyncMap
        from meridian.testing import simulate


        async def look_up(seconds):
            await asyncio.sleep(seconds)
            return seconds


        got = []
        fastest_first = AsyncMap("look-up", look_up, concurrency=3, ordered=False)
        simulation = simulate(graph("g", source([3, 1, 2]) >> fastest_first >> sink(got.append)))
        assert got == [1, 2, 3]
        assert simulation.elapsed_s == 3.0
        ```
    """

    def __init__(
        self,
        name: str,
        fn: Callable[[Any], Awaitable[Any]],
        *,
        concurrency: int = 16,
        ordered: bool = True,
        on_error: ErrorPolicy = ErrorPolicy.LOG_AND_CONTINUE,
    ) -> None:
        if not arguments.is_coroutine_function(fn):
            raise TypeError(f"node {name!r}: fn must be a coroutine function, got {type(fn).__name__}")
        function = NodeFunction(fn, name=name, concurrency=concurrency, ordered=ordered, on_error=on_error)
        super().__init__(name, function)


class Batch(FunctionNode):
    """Collects payloads and emits them as lists: when ``size`` are together, or ``within_s`` after the first of them.

    CONTROL messages flush what is there, then pass; so does the end of the input. Supersedes `BufferNode` and `BatchConsumer`.

    Args:
        name: Unique within its graph.
        size: Most payloads in a list.
        within_s: Longest time that a payload waits, in seconds of the run's clock; without it only ``size`` counts.
        config: Settings; default ones if left out.

    Raises:
        TypeError: a number is none.
        ValueError: ``size`` is less than 1, or ``within_s`` isn't above 0.

    Example:
        ```python
        from meridian import Scheduler, graph, sink, source
        from meridian.nodes import Batch

        got = []
        scheduler = Scheduler()
        scheduler.register(graph("g", source(range(5)) >> Batch("by-two", 2) >> sink(got.append)))
        scheduler.run()
        assert got == [[0, 1], [2, 3], [4]]
        ```
    """

    regular_ticks = False

    def __init__(
        self, name: str, size: int, within_s: float | None = None, *, config: NodeConfig | None = None
    ) -> None:
        super().__init__(name, *setup_standard_ports(["input"], ["output"]), config)
        self._size = arguments.size(self, "size", size)
        self._within = None if within_s is None else _microseconds(self, "within_s", within_s)
        self._alarm = Alarm(self)
        self._held: list[
            Any
        ] = []  # messages; payloads, where an engine gathers them without calling this node

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if msg.type is CONTROL:
            self._flush()
        if msg.type is not DATA:
            self.emit("output", msg)
            return
        self._held.append(msg)
        if len(self._held) >= self._size:
            self._flush()
        elif len(self._held) == 1 and self._within is not None:
            self._alarm.set_in(self._within)

    def _handle_tick(self) -> None:
        if self._alarm.is_due():
            self._flush()

    def _flush(self) -> None:
        self._alarm.clear()
        held = self._held
        if held:
            payloads = [each.payload if each.__class__ is Message else each for each in held]
            first = held[0] if held[0].__class__ is Message else wrap(held[0], None)
            held.clear()
            self.emit("output", first.with_payload(payloads))

    def has_pending(self) -> bool | None:
        """Say ``False``: what is held leaves at the end of the input."""
        return False

    def on_drain(self) -> None:
        """Emit what is held."""
        self._flush()

    def _native_form(self) -> tuple[Any, ...]:
        return ("batch", ("input",), "output", self._size, self._held, self._alarm, self._within)


class Debounce(FunctionNode):
    """Emits the newest message of a flurry, when nothing has come for ``quiet_s``; at the end of the input at once.

    What it leaves out is counted in `skipped`. CONTROL and ERROR messages pass at once.

    Args:
        name: Unique within its graph.
        quiet_s: How long nothing must come, in seconds of the run's clock.
        config: Settings; default ones if left out.

    Attributes:
        skipped: Messages left out so far.

    Raises:
        TypeError: ``quiet_s`` is no number.
        ValueError: it isn't above 0.

    Example:
        ```python
        import asyncio

        from meridian import graph, sink, source
        from meridian.nodes import Debounce
        from meridian.testing import simulate


        async def keystrokes():
            for text, pause in (("m", 0.1), ("me", 0.1), ("mer", 2.0), ("meri", 0.0)):
                yield text
                await asyncio.sleep(pause)


        got = []
        simulate(graph("g", source(keystrokes()) >> Debounce("search", 0.5) >> sink(got.append)))
        assert got == ["mer", "meri"]
        ```
    """

    regular_ticks = False

    def __init__(self, name: str, quiet_s: float, *, config: NodeConfig | None = None) -> None:
        super().__init__(name, *setup_standard_ports(["input"], ["output"]), config)
        self._quiet = _microseconds(self, "quiet_s", quiet_s)
        self._alarm = Alarm(self)
        self._newest: Message[Any] | None = None
        self.skipped = 0

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if msg.type is not DATA:
            self.emit("output", msg)
            return
        self.skipped += self._newest is not None
        self._newest = msg
        self._alarm.set_in(self._quiet)

    def _handle_tick(self) -> None:
        if self._alarm.is_due():
            self.on_drain()

    def has_pending(self) -> bool | None:
        """Say ``False``: what is held leaves at the end of the input."""
        return False

    def on_drain(self) -> None:
        """Emit the newest message, if it hasn't left yet."""
        self._alarm.clear()
        newest, self._newest = self._newest, None
        if newest is not None:
            self.emit("output", newest)


class JoinStrategy(str, Enum):
    """How `Join` puts messages of several inputs together."""

    ZIP = "zip"
    """The first of each input, then the second of each: every message is used once, in order."""
    LATEST = "latest"
    """For every message, it and the newest of the other inputs, once each has one."""


class Join(FunctionNode):
    """Puts payloads of several inputs together, as tuples in the order of the inputs.

    With `JoinStrategy.ZIP`, an input that is ahead by ``limit`` messages isn't taken from until the others catch up, so that memory is bounded and
    fast producers wait; what never finds its partners is counted in `unmatched` at the end. CONTROL and ERROR messages pass at once. The
    result carries the trace of the message that completed it.

    Args:
        name: Unique within its graph.
        inputs: Names of the inputs, at least two.
        strategy: How messages are put together.
        limit: Most messages of one input that wait for the others; for `JoinStrategy.ZIP`.
        config: Settings; default ones if left out.

    Attributes:
        unmatched: Messages that were waiting for partners when the input ended.

    Raises:
        TypeError: ``limit`` is no int.
        ValueError: fewer than two inputs, one named twice, or ``limit`` less than 1.

    Example:
        ```python
        from meridian import Scheduler, graph, sink, source
        from meridian.nodes import Join

        got = []
        pairs = Join("pairs", ["name", "age"])
        names, ages = source(["Ada", "Alan"], name="names"), source([36, 41], name="ages")
        scheduler = Scheduler()
        scheduler.register(
            graph("g", names >> pairs["name"], ages >> pairs["age"], pairs >> sink(got.append))
        )
        scheduler.run()
        assert got == [("Ada", 36), ("Alan", 41)]
        ```
    """

    regular_ticks = False

    def __init__(
        self,
        name: str,
        inputs: Sequence[str],
        strategy: JoinStrategy = JoinStrategy.ZIP,
        *,
        limit: int = 64,
        config: NodeConfig | None = None,
    ) -> None:
        if isinstance(inputs, str) or len(set(inputs)) != len(inputs) or len(inputs) < 2:
            raise ValueError(f"node {name!r}: inputs must be at least two different names, got {inputs!r}")
        super().__init__(name, *setup_standard_ports(inputs, ["output"]), config)
        self._strategy = arguments.member(self, "strategy", strategy, JoinStrategy)
        self._limit = arguments.size(self, "limit", limit)
        self._waiting: dict[str, deque[Any]] = {port: deque() for port in inputs}
        self.unmatched = 0

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if msg.type is not DATA:
            self.emit("output", msg)
            return
        waiting = self._waiting
        if self._strategy is JoinStrategy.LATEST:
            waiting[port].clear()
            waiting[port].append(msg.payload)
            if all(waiting.values()):
                self.emit("output", msg.with_payload(tuple(each[0] for each in waiting.values())))
            return
        waiting[port].append(msg.payload)
        if all(waiting.values()):
            joined = tuple(each.popleft() for each in waiting.values())
            for other, rest in waiting.items():
                if len(rest) == self._limit - 1:
                    self.resume(other)
            self.emit("output", msg.with_payload(joined))
        if len(waiting[port]) >= self._limit:
            self.pause(port)

    def has_pending(self) -> bool | None:
        """Say ``False``: what waits for partners doesn't keep a run from ending."""
        return False

    def on_drain(self) -> None:
        """Count what will find no partners any more."""
        if self._strategy is JoinStrategy.ZIP:
            self.unmatched += sum(map(len, self._waiting.values()))


def _microseconds(node: FunctionNode, parameter: str, seconds: float) -> int:
    return max(1, round(arguments.positive(node, parameter, seconds) * 1_000_000))
