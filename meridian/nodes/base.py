"""What the built-in nodes share: their configuration, and what they do about user functions that fail."""

from __future__ import annotations

import inspect
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from itertools import repeat
from typing import TYPE_CHECKING, Any

from meridian.core.errors import BackpressureError
from meridian.core.message import Message, MessageType
from meridian.core.node import Node, ports_of
from meridian.core.policies import ErrorPolicy
from meridian.core.ports import Port, PortDirection, PortSpec
from meridian.observability.logging import get_logger
from meridian.redaction import describe_error, exposure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "BurstNode",
    "BurstPipeNode",
    "DistributionStrategy",
    "ErrorPolicy",
    "FunctionNode",
    "MergeStrategy",
    "NodeConfig",
    "PipeNode",
    "TimingConfig",
    "create_error_message",
    "setup_standard_ports",
    "validate_callable",
]

_RETRY_S = 0.001


class MergeStrategy(str, Enum):
    """v1's name for ways to merge; nothing reads it: inputs are served round-robin."""

    ROUND_ROBIN = "round_robin"
    PRIORITY = "priority"
    TIMESTAMP = "timestamp"


class DistributionStrategy(str, Enum):
    """v1's name for ways to share work; nothing reads it: whichever worker is free takes the next message."""

    ROUND_ROBIN = "round_robin"
    HASH_BASED = "hash"
    LOAD_BASED = "load"


@dataclass(slots=True)
class NodeConfig:
    """Settings that every built-in node takes as its last argument.

    Attributes:
        error_policy: What a failing user function means.
        enable_metrics: v1's; nothing reads it.
        custom_labels: v1's; nothing reads it.

    Raises:
        ValueError: there is no such error policy.
    """

    error_policy: ErrorPolicy = ErrorPolicy.LOG_AND_CONTINUE
    enable_metrics: bool = True
    custom_labels: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Take the policy by its value, too, as files of settings have it."""
        try:
            self.error_policy = ErrorPolicy(self.error_policy)
        except ValueError:
            allowed = ", ".join(f"ErrorPolicy.{each.name} ({each.value!r})" for each in ErrorPolicy)
            raise ValueError(f"error_policy must be one of {allowed}, got {self.error_policy!r}") from None


@dataclass(slots=True)
class TimingConfig:
    """v1's settings of time; nothing reads them: each node takes its own intervals.

    Attributes:
        interval_ms: Milliseconds.
        timeout_ms: Milliseconds.
        use_scheduler_ticks: Whether ticks come from the scheduler.
    """

    interval_ms: int = 100
    timeout_ms: int = 1000
    use_scheduler_ticks: bool = True


class FunctionNode(Node):
    """The base of nodes that call a function of the user's.

    Args:
        name: Unique within its graph.
        inputs: Its inputs, in order.
        outputs: Its outputs, in order; under `ErrorPolicy.EMIT_ERROR` failures leave on the first one.
        config: Settings; default ones if left out.

    Raises:
        TypeError: the settings are something else, such as a dict.

    Under `ErrorPolicy.LOG_AND_CONTINUE` a failure is logged as ``function_node.error``, counted in the report, and the
    next message follows. Under `ErrorPolicy.RAISE_EXCEPTION` it leaves the hook: the runtime records it and goes on, a
    harness passes it to the test. No policy ever applies to a full edge.
    """

    _user_function: Callable[..., Any] | None = None

    def __init__(
        self, name: str, inputs: list[Port], outputs: list[Port], config: NodeConfig | None = None
    ) -> None:
        super().__init__(name, inputs, outputs)
        if config is not None and not hasattr(config, "error_policy"):
            raise TypeError(
                f"{type(self).__name__} {name!r}: config must be a NodeConfig, got {type(config).__name__}"
            )
        self._config = NodeConfig() if config is None else config

    def _safe_call_user_function(
        self, *args: Any, original_message: Message[Any] | None = None, **kwargs: Any
    ) -> Any:
        """Call the user's function; return its result, or ``None`` if it failed and the error policy says to go on."""
        try:
            return self._call_user_function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the error policy decides
            self._handle_failure(error, original_message)
            return None

    def _call_user_function(self, *args: Any, **kwargs: Any) -> Any:
        if self._user_function is None:
            raise RuntimeError(f"node {self.name!r} has no user function")
        return self._user_function(*args, **kwargs)

    def _handle_failure(
        self, error: BaseException, original: Message[Any] | None = None, **context: Any
    ) -> None:
        """Deal with ``error`` as the error policy says: log it, emit it as an ERROR message, or raise it.

        Args:
            error: What went wrong.
            original: The message in hand; without one, `ErrorPolicy.EMIT_ERROR` raises.
            context: Goes into the ERROR message, so it must not contain payloads.
        """
        message = self._error_message(error, original, **context)
        first = next((port.name for port in ports_of(self.outputs, PortDirection.OUTPUT)), None)
        if message is not None and first is not None:
            self.emit(first, message)

    def _error_message(
        self, error: BaseException, original: Message[Any] | None = None, **context: Any
    ) -> Message[Any] | None:
        """Do the same, but leave it to the caller to emit the ERROR message, if there is to be one."""
        policy = self._config.error_policy
        if policy == ErrorPolicy.LOG_AND_CONTINUE:  # by value: it may have been set later on
            described = describe_error(error)
            get_logger().error(
                "function_node.error", "user function failed",
                node=self.name, error_type=described.type, error_msg=described.message, where=described.where,
            )  # fmt: skip
            self.record_error(error)
            return None
        if policy == ErrorPolicy.EMIT_ERROR and original is not None:
            self.record_error(error)
            return create_error_message(error, {"node": self.name, **context}, original)
        raise error


class PipeNode(FunctionNode):
    """The base of nodes with one input and one output.

    DATA messages are for `_handle_data`; all others leave as they came, unless `_pass_on` says otherwise. Messages on
    other ports are ignored.

    Args:
        name: Unique within its graph.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.
    """

    def __init__(
        self, name: str, input_port: str, output_port: str, config: NodeConfig | None = None
    ) -> None:
        super().__init__(name, *setup_standard_ports([input_port], [output_port]), config)
        self._input_port = input_port
        self._output_port = output_port

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if port == self._input_port:
            if msg.type is MessageType.DATA:
                self._handle_data(msg)
            else:
                self._pass_on(msg)

    def _handle_data(self, msg: Message[Any]) -> None:
        """Handle a DATA message."""
        raise NotImplementedError

    def _pass_on(self, msg: Message[Any]) -> None:
        """Deal with a CONTROL or ERROR message."""
        self.emit(self._output_port, msg)


class BurstNode(FunctionNode):
    """The base of nodes that may emit more at a time than edges have room for.

    What an edge refuses stays here, in order; no more data is taken until it is gone. An iterator is only asked for its
    next message when the one before was accepted, so it may be endless.
    """

    regular_ticks = False

    def __init__(
        self, name: str, inputs: list[Port], outputs: list[Port], config: NodeConfig | None = None
    ) -> None:
        super().__init__(name, inputs, outputs, config)
        self._backlog: deque[Iterator[tuple[str, Message[Any]]]] = deque()
        self._refused: tuple[str, Message[Any]] | None = None  # of the first burst in the backlog

    def on_start(self) -> Any:
        """Go on with what a run before left here."""
        super().on_start()
        if self._backlog:
            self._wait_for_room()

    def _emit_all(self, port: str, messages: Iterable[Message[Any]]) -> None:
        """Emit ``messages`` in order, now or when there is room.

        An exception of the iterable ends it and passes. One of an emit (a payload that doesn't fit an edge) passes too,
        and the rest is emitted after it.
        """
        self._emit_burst(zip(repeat(port), messages, strict=False))

    def _emit_to_each(self, ports: Iterable[str], message: Message[Any]) -> None:
        """Emit one message on several ports, each now or when there is room."""
        self._emit_burst((port, message) for port in ports)

    def _emit_burst(self, burst: Iterator[tuple[str, Message[Any]]]) -> None:
        self._backlog.append(burst)
        if len(self._backlog) == 1:
            self._emit_backlog()

    def _emit_backlog(self) -> bool:
        """Emit what there is room for; say whether that was all."""
        backlog = self._backlog
        while backlog:
            pair = self._refused
            if pair is None:
                try:
                    pair = next(backlog[0], None)
                except BaseException:
                    backlog.popleft()
                    self._wait_for_room()
                    raise
                if pair is None:
                    backlog.popleft()
                    continue
            self._refused = None
            try:
                self.emit(*pair)
            except BackpressureError:
                self._refused = pair
                self._wait_for_room()
                return False
            except BaseException:
                self._wait_for_room()
                raise
        self.resume()
        return True

    def _wait_for_room(self) -> None:
        """Go on with the backlog as soon as what is parked has been delivered, and take no data before that."""
        if self._backlog:
            self.pause()
            # A tick comes no sooner than that. Where nothing may be parked it wouldn't wait at all.
            self.tick_in(0 if self.max_parked > 0 else _RETRY_S)
        else:
            self.resume()

    def _handle_tick(self) -> None:
        self._emit_backlog()

    def has_pending(self) -> bool | None:
        """Say whether something waits for room."""
        return bool(self._backlog)


class BurstPipeNode(PipeNode, BurstNode):
    """The base of nodes with one input and one output that may emit more at a time than edges have room for."""

    def _pass_on(self, msg: Message[Any]) -> None:
        """Let a CONTROL or ERROR message leave behind what waits for room."""
        self._emit_all(self._output_port, (msg,))


def create_error_message(
    exception: BaseException, context: dict[str, Any], original_message: Message[Any] | None = None
) -> Message[Any]:
    """Make the ERROR message that stands for a failure.

    Args:
        exception: What went wrong.
        context: Where; must not contain payloads.
        original_message: The message that was being handled; its trace goes on.

    Returns:
        A message whose payload is a dict: ``error_type``, ``error_message`` and ``context``; with an original message
        also ``original_payload``. Where `meridian.redaction.expose` doesn't allow texts of errors, the text of a strange
        exception and the original payload are replaced by ``"[redacted]"``.
    """
    described = describe_error(exception)
    payload = {
        "error_type": type(exception).__name__,
        "error_message": described.message,
        "context": context,
    }
    if original_message is None:
        return Message(MessageType.ERROR, payload, {"error_source": "built_in_node"})
    shown = exposure().error_messages
    payload["original_payload"] = original_message.payload if shown else "[redacted]"
    headers = {"trace_id": original_message.get_trace_id()}
    return Message(MessageType.ERROR, payload, {"error_source": "built_in_node"}, headers)


def validate_callable(func: Any, expected_arity: int | None = None) -> None:
    """Check that ``func`` can be called with ``expected_arity`` positional arguments.

    Raises:
        ValueError: ``func`` is ``None`` or can't be called, or has fewer named positional parameters; ``*args`` doesn't
            count.
    """
    if not callable(func):
        raise ValueError(f"a function is needed, got {type(func).__name__}")
    if expected_arity is None:
        return
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):  # a builtin that doesn't tell
        return
    taken = sum(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in parameters)
    if taken < expected_arity:
        name = getattr(func, "__qualname__", type(func).__name__)
        raise ValueError(f"{name} must take {expected_arity} positional arguments, takes {taken}")


def validate_function(node: Node, parameter: str, func: Any, arity: int) -> None:
    """Check that a constructor got a plain function of ``arity`` positional arguments; here ``*args`` counts.

    Raises:
        ValueError: it is none, or asynchronous, or can't be called like that; names the node and the parameter.
    """
    where = f"{type(node).__name__} {node.name!r}: {parameter}"
    validate = f"must be a function of {arity} argument{'' if arity == 1 else 's'}"
    if not callable(func):
        raise ValueError(f"{where} {validate}, got {func!r}")
    if inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func):
        raise ValueError(
            f"{where} {validate}, got an asynchronous one: use AsyncWorker, or a function node (@node)"
        )
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # a builtin that doesn't tell
        return
    try:
        signature.bind(*[None] * arity)
    except TypeError as error:
        raise ValueError(f"{where} {validate}, but {error}") from None


def setup_standard_ports(
    input_names: Iterable[str] | None, output_names: Iterable[str] | None
) -> tuple[list[Port], list[Port]]:
    """Return untyped input and output ports of these names; ``None`` means none."""
    return (
        [Port(name, PortDirection.INPUT, spec=PortSpec(name)) for name in input_names or ()],
        [Port(name, PortDirection.OUTPUT, spec=PortSpec(name)) for name in output_names or ()],
    )
