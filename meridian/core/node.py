"""Node: something with named ports and four hooks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meridian.core.errors import PortError
from meridian.core.message import Message, MessageType, Scope, current_scope, no_message
from meridian.core.policies import ErrorPolicy
from meridian.core.ports import Port, PortDirection, PortSpec
from meridian.core.wiring import Wirable
from meridian.observability import observed
from meridian.observability.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Protocol

    class Attachment(Protocol):
        """What a run gives a node while it takes part in it."""

        name: str

        def emit(self, port: str, msg: Message[Any]) -> Message[Any]: ...
        def send(self, port: str, msg: Message[Any]) -> Awaitable[Message[Any]]: ...
        def now(self) -> float: ...
        def tick_in(self, seconds: float) -> None: ...
        def pause(self, port: str | None) -> None: ...
        def resume(self, port: str | None) -> None: ...
        def record_error(self, error: BaseException) -> None: ...


class Node(Wirable):
    """The base of every node; usable without subclassing.

    Args:
        name: Unique within its graph.
        inputs: Its inputs, in order.
        outputs: Its outputs, in order.

    Override the hooks. Each may be plain or ``async def``; while one of an asynchronous node waits, other nodes go on,
    and this node handles nothing else.

    * ``on_start``: once, before the node's first message; raising means that it takes no part in this run.
    * ``_handle_message`` (or ``on_message``): for every message.
    * ``_handle_tick`` (or ``on_tick``): every ``tick_interval_ms``, first one interval after the start.
    * ``on_drain``: once, when no more input will come: the place to emit what the node still holds.
    * ``on_stop``: once, in reverse topological order, if it was started.

    Attributes:
        error_policy: What a raising hook means; by default it is recorded and the run goes on.
        max_parked: Most messages that plain ``emit`` parks while an edge is full.
        lint_ignore: What `meridian.lint.lint` is not to tell about it: reasons by id of the rule.
    """

    error_policy: ErrorPolicy = ErrorPolicy.LOG_AND_CONTINUE
    max_parked: int = 1024
    regular_ticks: bool = True
    lint_ignore: Mapping[str, str] | None = None
    inputs: list[Port]
    outputs: list[Port]
    _attached: Attachment | None = None
    _kept: list[tuple[Any, Any]] | None = None
    """What a run left parked, by port or ring; the next one delivers it first."""

    def __init__(self, name: str, inputs: Iterable[Port] = (), outputs: Iterable[Port] = ()) -> None:
        self.name = name
        # A list, or the dict of specs that generated v1 nodes assign; kept as it is, it may grow later.
        self.inputs = inputs if isinstance(inputs, (list, dict)) else list(inputs)  # type: ignore[assignment]
        self.outputs = outputs if isinstance(outputs, (list, dict)) else list(outputs)  # type: ignore[assignment]

    @classmethod
    def with_ports(cls, name: str, input_names: Iterable[str], output_names: Iterable[str]) -> Node:
        """Make a node with untyped ports of these names."""
        return cls(
            name=name,
            inputs=[Port(port, PortDirection.INPUT, spec=PortSpec(port)) for port in input_names],
            outputs=[Port(port, PortDirection.OUTPUT, spec=PortSpec(port)) for port in output_names],
        )

    def port_map(self) -> dict[str, Port]:
        """Return all ports by name, inputs before outputs."""
        ports = [*ports_of(self.inputs, PortDirection.INPUT), *ports_of(self.outputs, PortDirection.OUTPUT)]
        return {port.name: port for port in ports}

    # ---- hooks -----------------------------------------------------------------------------------------------

    def on_start(self) -> Any:
        """Called once before the first message. The base only logs."""
        get_logger().info("node.start", "node started", node=self.name)

    def on_drain(self) -> Any:
        """Called when no more input will come; emit here what the node still holds (an open window, a half-full batch).

        At the end of a run, and of a shutdown, when nothing moves any more, nodes are drained one after the other in
        topological order; each is called when what the ones before it emitted has been handled. A run that is aborted, or
        that exceeds ``shutdown_timeout_s``, drains no further.
        """

    def on_stop(self) -> Any:
        """Called once at the end, if the node was started. The base only logs."""
        get_logger().info("node.stop", "node stopped", node=self.name)

    def on_message(self, port: str, msg: Message[Any]) -> Any:
        """Handle one message; the base observes and calls ``_handle_message``.

        Raises:
            Exception: whatever ``_handle_message`` raised, after it was recorded.
        """
        if self._attached is not None:
            return self._handle_message(port, msg)  # the run observes
        scope = Scope()
        scope.handling, scope.node, scope.port = msg, self.name, port
        token = current_scope.set(scope)
        try:
            with observed.message(self.name, port, msg.get_trace_id, self._instrument):
                return self._handle_message(port, msg)
        finally:
            current_scope.reset(token)

    def on_tick(self) -> Any:
        """Called every tick interval; the base observes and calls ``_handle_tick``."""
        if self._attached is not None:
            return self._handle_tick()
        with observed.tick(self.name):
            return self._handle_tick()

    def _handle_message(self, port: str, msg: Message[Any]) -> Any:
        """Handle one message; override this."""

    def _handle_tick(self) -> Any:
        """Do what is due at a tick; override this."""

    def has_pending(self) -> bool | None:
        """Say whether a node that ticks still has something to do on its own.

        ``True``: the run must not end yet (an open window, an unfinished source). ``False``: its ticks no longer
        matter. ``None``, the default: unknown; a run whose sources are all finished then ends at the first quiet
        moment after ``shutdown_timeout_s``, as in v1. Without regular ticks, ``None`` means while a tick is asked for.
        """
        return None

    def _native_form(self) -> tuple[Any, ...] | None:
        """Describe what this class does with messages, for an engine that can do the same without calling it.

        ``None``, the default: it has to be called. `meridian.nodes.native` says what forms there are. A subclass doesn't
        inherit what its base says here, as it may do something else.
        """
        return None

    # ---- time and flow -----------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return seconds of the run's clock, which only differ meaningfully; of the machine's, without a run."""
        return time.monotonic() if self._attached is None else self._attached.now()

    def tick_in(self, seconds: float) -> None:
        """Ask for a tick of its own, besides the regular ones; safe from any thread, nothing without a run.

        Of several requests the earliest counts. During a shutdown, when regular ticks have stopped, these still come as
        long as `has_pending` is true.

        Args:
            seconds: Time from now, of the run's clock; 0 means as soon as possible.

        Raises:
            RuntimeError: the node defines no tick hook.
        """
        if self._attached is not None:
            self._attached.tick_in(seconds)

    def pause(self, port: str | None = None) -> None:
        """Take no more data until `resume`, so that edges fill and producers wait; CONTROL and ticks still come.

        What is left of the batch in hand goes back to its edge; a node without outputs may still get that. Call it from a
        hook. Nothing without a run.

        Args:
            port: The input to take nothing from; all of them if left out.
        """
        if self._attached is not None:
            self._attached.pause(port)

    def resume(self, port: str | None = None) -> None:
        """Take data again, from ``port`` or from all inputs. Call it from a hook. Nothing without a run."""
        if self._attached is not None:
            self._attached.resume(port)

    def record_error(self, error: BaseException) -> None:
        """Count a failure that the node dealt with itself: it appears in the report, without payload, and nothing else happens."""
        if self._attached is not None:
            self._attached.record_error(error)

    # ---- output ----------------------------------------------------------------------------------------------

    def emit(self, port: str, msg: Message[Any]) -> Message[Any]:
        """Send a message to every edge that leaves ``port``: to all of them or, where one is full, not yet.

        Where a blocking edge is full the message is parked with this node, which is run again when all that it parked
        has been delivered, in order. A port that leads nowhere takes the message and counts it as unrouted. Without a
        run the message is only returned.

        Args:
            port: Name of an output.
            msg: What to send. A message made in this handler carries the trace of the one being handled.

        Returns:
            ``msg`` itself.

        Raises:
            PortError: there is no such output; a KeyError.
            ValueError: the message's type is none of the three.
            PayloadError, TypeError: its payload doesn't fit an edge's schema, or it is no message; nothing was sent.
            BackpressureError: no room, and ``max_parked`` messages are parked already; not accepted. If you let it
                escape, the runtime keeps the message and delivers it first.

        Cost: one list append in the common case.
        """
        if self._attached is not None:
            return self._attached.emit(port, msg)
        self._check_emit(port, msg)
        return msg

    async def send(self, port: str, msg: Message[Any]) -> Message[Any]:
        """Send a message, waiting while an edge that leaves ``port`` is full.

        Raises and returns as `emit`, except that it never refuses for want of room.

        Yields to the loop: only when it waits.
        Cancellation: the message was not sent to any edge; the place in line is lost.
        """
        if self._attached is not None:
            return await self._attached.send(port, msg)
        return self.emit(port, msg)

    def _check_emit(self, port: str, msg: Message[Any]) -> None:
        if not isinstance(getattr(msg, "type", None), MessageType):
            raise no_message(self.name, port, msg)
        names = [each.name for each in ports_of(self.outputs, PortDirection.OUTPUT)]
        if port not in names:
            raise PortError(self.name, port, names)
        logger = get_logger()
        if logger.is_enabled("DEBUG"):
            logger.debug(
                "node.emit", "message emitted", node=self.name, port=port,
                trace_id=msg.get_trace_id(), message_type=msg.type.value,
            )  # fmt: skip

    @property
    def _instrument(self) -> bool:
        # v1 tests switch a node's counters off by assigning None to one of them.
        return self.__dict__.get("_messages_total", self) is not None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


@dataclass
class _Fields:
    name: str
    inputs: list[Port] = field(default_factory=list[Port])
    outputs: list[Port] = field(default_factory=list[Port])


# v1's Node is a dataclass, and a dataclass may derive from it. This one isn't (it compares by identity), but looks like one.
Node.__dataclass_fields__ = _Fields.__dataclass_fields__  # type: ignore[attr-defined]
Node.__dataclass_params__ = _Fields.__dataclass_params__  # type: ignore[attr-defined]


def ports_of(ports: Any, direction: PortDirection) -> list[Port]:
    """Return ``node.inputs`` or ``node.outputs`` as ports: a list of them, a dict of specs by name, or a method for one."""
    if callable(ports):
        ports = ports()
    if isinstance(ports, Mapping):
        return [
            spec
            if isinstance(spec, Port)
            else Port(name, direction, spec=spec if isinstance(spec, PortSpec) else None)
            for name, spec in ports.items()
        ]
    return list(ports)
