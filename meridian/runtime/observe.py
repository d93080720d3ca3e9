"""How a run is observed: nothing per message unless somebody asked for it.

Totals are derived from the rings and published when a metrics provider is read (or, for providers that are not read but
written to, when the run ends). Spans and debug events do cost per message; handlers are wrapped with them only while
tracing, or the level DEBUG, is on. A reconfiguration is noticed at the next slice.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from inspect import iscoroutinefunction
from time import perf_counter
from typing import TYPE_CHECKING, Any

from meridian.core.errors import BackpressureError
from meridian.engine.node import would_block
from meridian.observability.logging import get_logger
from meridian.observability.metrics import get_metrics, is_metrics_enabled, is_read
from meridian.observability.tracing import get_tracer, is_tracing_enabled, start_span
from meridian.runtime.spans import Spans

if TYPE_CHECKING:
    from meridian.core.message import Message
    from meridian.core.node import Node
    from meridian.engine.node import NodeState
    from meridian.engine.ring import Ring
    from meridian.runtime.attached import Attached
    from meridian.runtime.run import Run


HEALTH_SLICES = 1000
"""How many slices lie between two ``scheduler.health`` events."""


class Observer:
    """Watches one run.

    Args:
        run: What to watch; not yet started.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._published: dict[tuple[str, str, str], float] = {}
        self._bare: dict[int, tuple[NodeState, Any]] = {}
        self._functions: dict[int, tuple[NodeState, Any]] = {}
        self._attached: list[tuple[Node, Attached]] = []
        self._spans = Spans(run) if is_tracing_enabled() else None
        self._debug = get_logger().is_enabled("DEBUG")
        self._metrics: Any = None
        self._latency: Any = None
        self._iteration = 0
        self._latency_s = 0.0
        self._blocked: dict[int, list[str]] = {}
        """Edges that a node waits for, by its index; kept for debug events only."""
        self._use_metrics()

    def _use_metrics(self) -> None:
        if self._metrics is not None and is_read(self._metrics):
            self.publish(self._metrics)
            self._metrics.unregister_collector(self.publish)
        self._metrics = get_metrics() if is_metrics_enabled() else None
        if self._metrics is not None and is_read(self._metrics):
            self._metrics.register_collector(self.publish)
        self._latency = self._metrics and self._metrics.histogram("scheduler_loop_latency_seconds")
        self._choose_slice()

    def _choose_slice(self) -> None:
        """``slice(messages, nanoseconds)`` runs a slice; it is the engine's own where nobody looks."""
        of_slices = self._spans is not None and self._spans.of_slices
        plain = self._latency is None and not (of_slices or self._debug)
        self.slice = self.run.engine.run if plain else self._observed_slice

    # ---- handlers --------------------------------------------------------------------------------------------

    def handler(
        self, state: NodeState, handle: Callable[[str, Any], Any], is_async: bool
    ) -> Callable[[str, Any], Any]:
        """Return what is to be called for each message of a node written as a class."""
        self._bare[state.id] = (state, handle)
        if self._spans is not None:
            handle = self._spans.handler(state, handle, is_async)
        if not self._debug:
            return handle
        if is_async:

            async def observed_async(port: str, message: Message[Any]) -> None:
                with self._handling(state):
                    await handle(port, message)

            return observed_async

        def observed(port: str, message: Message[Any]) -> None:
            with self._handling(state):
                handle(port, message)

        return observed

    def function(self, state: NodeState, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return what is to be called for each item of a function node."""
        self._functions[state.id] = (state, fn)
        is_coroutine = iscoroutinefunction(fn)
        state.fn_of_envelope = None
        if self._spans is not None:
            traced = self._spans.function(state, fn)
            if not self._spans.leaves_bare_alone(state):
                return self._told(state, traced, is_coroutine)
            state.fn_of_envelope = self._told(state, traced, is_coroutine)
        return self._told(state, fn, is_coroutine)

    def _told(self, state: NodeState, fn: Callable[..., Any], is_coroutine: bool) -> Callable[..., Any]:
        """Return what calls a function and tells of it in debug events, if they are on."""
        if not self._debug:
            return fn
        if is_coroutine:

            async def observed_async(item: Any) -> Any:
                with self._handling(state):
                    return await fn(item)

            return observed_async
        if state.kind != "map":
            return fn

        def observed(item: Any) -> Any:
            with self._handling(state):
                return fn(item)

        return observed

    def attached(self, node: Node, attached: Attached) -> None:
        """Look at what ``node`` emits, now if need be and whenever that changes."""
        self._attached.append((node, attached))
        if self._debug or self._spans is not None:
            attached.use(node, self)

    def leaving(self, state: NodeState) -> Callable[[Any], Any] | None:
        """Return what is to be done to each message that a node sends, or ``None`` for nothing."""
        return None if self._spans is None else self._spans.leaving(state)

    def entering(self, state: NodeState) -> Callable[[Any], Any] | None:
        """Return what is to be done to each item that an `Inlet` sends, or ``None`` for nothing."""
        return None if self._spans is None else self._spans.entering(state, joins=True)

    def failed_in(self, error: BaseException) -> str:
        """Return the ``traceparent`` of what comes from the span that ``error`` left, if any."""
        return "" if self._spans is None else self._spans.failed_in(error)

    def emit(self, state: NodeState, emit: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
        """Return what is to be called for each emit of a node; what debug events tell of goes to its edges at once, one by one."""
        leaving = self.leaving(state)
        if self._debug:
            emit = self._told_emit(state)
        if leaving is None:
            return emit

        def traced(port: str, message: Any) -> Any:
            return emit(port, leaving(message))

        return traced

    def _told_emit(self, state: NodeState) -> Callable[[str, Any], Any]:
        name = state.name

        def observed(port: str, message: Any) -> Any:
            rings = state.ports.get(port, ())
            before = [_losses(ring) for ring in rings]
            parked = len(state.parked or ())
            try:
                sent = state.emit_now(port, message)
            except BackpressureError as error:
                get_logger().debug("node.emit_blocked", "no room", node=name, port=port, edge_id=error.edge)
                raise
            trace_id, debug = message.get_trace_id(), get_logger().debug
            debug(
                "node.emit", "message emitted",
                node=name, port=port, trace_id=trace_id, message_type=message.type.value,
            )  # fmt: skip
            if len(state.parked or ()) > parked:
                self._say_blocked(state, rings, message)
                return sent
            for ring, lost in zip(rings, before, strict=True):
                event, result = _what_happened(lost, _losses(ring))
                debug(
                    event, "message put on its edge",
                    edge_id=ring.id, result=result, edge_capacity=ring.capacity, edge_size=ring.depth(),
                )  # fmt: skip
            return sent

        return observed

    def _say_blocked(self, state: NodeState, rings: Iterable[Ring], message: Message[Any]) -> None:
        full = [ring.id for ring in rings if would_block(ring, message)]
        for edge in full:
            get_logger().debug("scheduler.backpressure", "no room: the message waits", edge_id=edge)
        if state.id not in self._blocked:
            self._blocked[state.id] = full
            get_logger().debug(
                "scheduler.node_blocked", "the node waits for room", node=state.name, blocked_edges=full
            )

    def _say_unblocked(self, state: NodeState) -> None:
        """A node that had to wait runs again."""
        edges = self._blocked.pop(state.id)
        for edge in edges:
            get_logger().debug("scheduler.edge_unblocked", "there was room", edge_id=edge)
        get_logger().debug(
            "scheduler.node_unblocked", "the node runs again", node=state.name, unblocked_edges=edges
        )

    def _say_handling(self, state: NodeState, event: str, text: str) -> None:
        if self._debug:
            if state.id in self._blocked:
                self._say_unblocked(state)
            get_logger().debug(event, text, node=state.name)

    def tick(self, state: NodeState, hook: Callable[[], Any]) -> Callable[[], Any]:
        """Return what is to be called at each tick; always observed, as ticks are few."""
        name = state.name

        def begin() -> tuple[Any, float]:
            self._say_handling(state, "scheduler.process_tick", "a tick is due")
            return start_span("node.on_tick", {"node": name}), perf_counter()

        def end(began: float) -> None:
            get_metrics().histogram("node_tick_duration_seconds", {"node": name}).observe(
                perf_counter() - began
            )

        def succeeded() -> None:
            if get_logger().is_enabled("DEBUG"):
                get_logger().debug("node.tick_processed", "tick handled", node=name)

        if iscoroutinefunction(hook):

            async def observed_async() -> None:
                span, began = begin()
                try:
                    with span:
                        await hook()
                    succeeded()
                finally:
                    end(began)

            return observed_async

        def observed() -> None:
            span, began = begin()
            try:
                with span:
                    hook()
                succeeded()
            finally:
                end(began)

        return observed

    def async_items(self, state: NodeState, items: AsyncIterable[Any]) -> AsyncIterable[Any]:
        """Return what an asynchronous source is to be pulled from."""
        if self._spans is None:
            return items
        state.trusted = False  # envelopes are not what the annotation says
        return _entered(items, self._spans.entering(state))

    def items(self, state: NodeState, items: Iterator[Any]) -> Iterator[Any]:
        """Put what a source yields into envelopes where a message is to be followed."""
        if self._spans is None:
            return items
        return self._spans.entered(state, items)

    def _handling(self, state: NodeState) -> _Handling:
        self._say_handling(state, "scheduler.process_messages", "a message is due")
        return _Handling(state.name)

    # ---- slices ----------------------------------------------------------------------------------------------

    def _observed_slice(self, messages: int, nanoseconds: int) -> bool:
        """Run one slice of the engine; return whether more is due."""
        began = perf_counter()
        self._iteration += 1
        if self._spans is not None and self._spans.of_slices:
            with start_span("scheduler.loop_iteration", {"iteration": self._iteration}):
                more = self.run.engine.run(messages, nanoseconds)
        else:
            more = self.run.engine.run(messages, nanoseconds)
        took = perf_counter() - began
        if self._latency is not None:
            self._latency.observe(took)
        if self._debug:
            self._latency_s += took
            if self._iteration % HEALTH_SLICES == 0:
                get_logger().debug(
                    "scheduler.health", "the loop goes on",
                    iteration_count=self._iteration, runnable_nodes=len(self.run.engine.queue),
                    avg_loop_latency=self._latency_s / HEALTH_SLICES,
                )  # fmt: skip
                self._latency_s = 0.0
        return more

    def reconfigured(self) -> None:
        """Logging, metrics or tracing was configured anew."""
        tracer = get_tracer() if is_tracing_enabled() else None
        debug = get_logger().is_enabled("DEBUG")
        if self._metrics is not (get_metrics() if is_metrics_enabled() else None):
            self._use_metrics()
        if (tracer, debug) != (self._spans and self._spans.tracer, self._debug):
            self._spans = None if tracer is None else Spans(self.run)
            self._debug = debug
            self._choose_slice()
            workers = {worker.state.id: worker for worker in self.run.handling_workers()}
            for state, handle in list(self._bare.values()):
                if state.kind == "call":
                    state.fn = self.handler(state, handle, False)
                elif state.id in workers:
                    workers[state.id].fn = self.handler(state, handle, True)
            for state, fn in list(self._functions.values()):
                if state.id in workers:
                    workers[state.id].fn = self.function(state, fn)
                elif state.kind != "drive":
                    state.fn = self.function(state, fn)
            for node, attached in self._attached:
                attached.use(node, self)
            self.run.engine.recompile()

    # ---- metrics ---------------------------------------------------------------------------------------------

    def started(self, built_ns: int, started_ns: int) -> None:
        """Note how long the start took, and how many priorities it applied."""
        metrics = self._metrics
        if metrics is not None:
            metrics.histogram("scheduler_build_time_seconds").observe(built_ns / 1e9)
            metrics.histogram("scheduler_startup_time_seconds").observe(started_ns / 1e9)
            bands = self.run.assembly.bands
            applied = sum(planned.id in bands for planned in self.run.plan.edges) if bands else 0
            metrics.counter("scheduler_priority_applied_total").inc(applied)

    def publish(self, metrics: Any) -> None:
        """Bring the provider's numbers up to date."""
        run = self.run
        handled = [0] * len(run.plan.nodes)
        for planned, ring in run.assembly.known_rings():
            if ring is None:
                continue
            labels = {"edge_id": planned.id}
            handled[planned.target] += ring.taken
            planned.edge.tell(metrics, planned.id)
            if ring.waits:
                ends = [run.plan.nodes[i].name for i in (planned.source, planned.target)]
                labels_of_both = {**labels, "source_node": ends[0], "target_node": ends[1]}
                self._count(metrics, "scheduler_backpressure_events_total", labels_of_both, ring.waits)
            blocked = ring.blocked_s(run.engine.clock())
            since = blocked - self._published.get(("blocked", planned.id, ""), 0.0)
            if since > 0:
                self._published["blocked", planned.id, ""] = blocked
                metrics.histogram("edge_blocked_time_seconds", labels).observe(since)
        for state in run.assembly.known_states():
            labels = {"node": state.name}
            done = handled[state.id] + state.produced - min(state.errors, handled[state.id])
            self._count(metrics, "node_messages_total", labels, done)
            self._count(metrics, "node_errors_total", labels, state.errors)
        metrics.gauge("scheduler_runnable_nodes").set(len(run.engine.queue))
        metrics.gauge("scheduler_blocked_nodes").set(
            sum(1 for state in run.assembly.known_states() if state.held)
        )

    def _count(self, metrics: Any, name: str, labels: dict[str, str], total: float) -> None:
        key = (name, *labels.values())[:3]
        since = total - self._published.get(key, 0)  # type: ignore[arg-type]  # padded below
        if since > 0:
            metrics.counter(name, labels).inc(since)
            self._published[key] = total  # type: ignore[index]
        elif key not in self._published:
            metrics.counter(name, labels)
            self._published[key] = 0  # type: ignore[index]

    def close(self, stopping_ns: int) -> None:
        """Publish for the last time."""
        metrics = self._metrics
        if metrics is not None:
            metrics.histogram("scheduler_shutdown_time_seconds").observe(stopping_ns / 1e9)
            self.publish(metrics)
            if is_read(metrics):
                metrics.unregister_collector(self.publish)


def _losses(ring: Ring) -> tuple[int, int, int]:
    """Return how much the policy of ``ring`` has dropped, replaced and merged so far."""
    lost = ring.lost or {}
    return lost.get("dropped", 0), lost.get("replaced", 0), ring.merged


def _what_happened(before: tuple[int, int, int], after: tuple[int, int, int]) -> tuple[str, str]:
    """Return v1's event key and result code for one put."""
    if after[0] > before[0]:
        return "scheduler.message_routed", "DROPPED"  # the loss has an event of its own
    if after[1] > before[1]:
        return "scheduler.message_replaced", "REPLACED"
    if after[2] > before[2]:
        return "scheduler.message_coalesced", "COALESCED"
    return "scheduler.message_routed", "OK"


async def _entered(items: AsyncIterable[Any], entering: Callable[[Any], Any]) -> AsyncIterator[Any]:
    """Yield the items, each as ``entering`` returns it."""
    iterator = aiter(items)
    try:
        async for item in iterator:
            yield entering(item)
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


class _Handling:
    """The debug event behind the handling of one message."""

    __slots__ = ("_began", "_node")

    def __init__(self, node: str) -> None:
        self._node = node

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(self, *exc: Any) -> None:
        if exc[0] is None:
            get_logger().debug(
                "node.message_processed",
                "message handled",
                node=self._node,
                duration=perf_counter() - self._began,
            )
