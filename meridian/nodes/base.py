"""What the built-in nodes share: their configuration, and what they do about user functions that fail."""

from __future__ import annotations

import inspect
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Any

from meridian.core.errors import BackpressureError
from meridian.core.message import Message, MessageType
from meridian.core.node import Node
from meridian.core.policies import ErrorPolicy
from meridian.core.ports import Port, PortDirection, PortSpec
from meridian.observability.logging import get_logger
from meridian.redaction import describe_error, exposure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "BurstNode",
    "DistributionStrategy",
    "ErrorPolicy",
    "FunctionNode",
    "MergeStrategy",
    "NodeConfig",
    "TimingConfig",
    "create_error_message",
    "setup_standard_ports",
    "validate_callable",
]


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
    """

    error_policy: ErrorPolicy = ErrorPolicy.LOG_AND_CONTINUE
    enable_metrics: bool = True
    custom_labels: dict[str, str] = field(default_factory=dict[str, str])


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

    Under `ErrorPolicy.LOG_AND_CONTINUE` a failure is logged as ``function_node.error``, counted in the report, and the
    next message follows. Under `ErrorPolicy.RAISE_EXCEPTION` it leaves the hook: the runtime records it and goes on, a
    harness passes it to the test. No policy ever applies to a full edge.
    """

    _user_function: Callable[..., Any] | None = None

    def __init__(
        self, name: str, inputs: list[Port], outputs: list[Port], config: NodeConfig | None = None
    ) -> None:
        super().__init__(name, inputs, outputs)
        self._config = NodeConfig() if config is None else config

    def _safe_call_user_function(
        self, *args: Any, original_message: Message[Any] | None = None, **kwargs: Any
    ) -> Any:
        """Call the user's function; return its result, or ``None`` if it failed and the error policy says to go on."""
        try:
            if self._user_function is None:
                raise RuntimeError(f"node {self.name!r} has no user function")
            return self._user_function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the error policy decides
            self._handle_failure(error, original_message)
            return None

    def _handle_failure(self, error: BaseException, original: Message[Any] | None = None, **context: Any) -> None:
        """Deal with ``error`` as the error policy says: log it, emit it as an ERROR message, or raise it.

        Args:
            error: What went wrong.
            original: The message in hand; without one, `ErrorPolicy.EMIT_ERROR` raises.
            context: Goes into the ERROR message, so it must not contain payloads.
        """
        policy = self._config.error_policy
        if policy is ErrorPolicy.LOG_AND_CONTINUE:
            described = describe_error(error)
            get_logger().error(
                "function_node.error", "user function failed",
                node=self.name, error_type=described.type, error_msg=described.message, where=described.where,
            )  # fmt: skip
            self.record_error(error)
        elif policy is ErrorPolicy.EMIT_ERROR and original is not None:
            self.record_error(error)
            outputs = list(self.port_map().values())
            first = next((port.name for port in outputs if port.is_output()), None)
            if first is not None:
                self.emit(first, create_error_message(error, {"node": self.name, **context}, original))
        else:
            raise error


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
        self._backlog: deque[tuple[str, Iterator[Message[Any]]]] = deque()

    def _emit_all(self, port: str, messages: Iterable[Message[Any]]) -> None:
        """Emit ``messages`` in order, now or when there is room; an exception of the iterable ends it and passes."""
        self._backlog.append((port, iter(messages)))
        if len(self._backlog) == 1:
            self._emit_backlog()

    def _emit_backlog(self) -> bool:
        """Emit what there is room for; say whether that was all."""
        backlog = self._backlog
        while backlog:
            port, messages = backlog[0]
            try:
                for message in messages:
                    try:
                        self.emit(port, message)
                    except BackpressureError:
                        backlog[0] = port, chain((message,), messages)
                        self.pause()
                        self.tick_in(0)  # comes when what is parked has been delivered
                        return False
            except BaseException:
                backlog.popleft()
                self.tick_in(0)  # goes on with the rest
                raise
            backlog.popleft()
        self.resume()
        return True

    def _handle_tick(self) -> None:
        self._emit_backlog()

    def has_pending(self) -> bool | None:
        """Say whether something waits for room."""
        return bool(self._backlog)


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


def setup_standard_ports(
    input_names: Iterable[str] | None, output_names: Iterable[str] | None
) -> tuple[list[Port], list[Port]]:
    """Return untyped input and output ports of these names; ``None`` means none."""
    return (
        [Port(name, PortDirection.INPUT, spec=PortSpec(name)) for name in input_names or ()],
        [Port(name, PortDirection.OUTPUT, spec=PortSpec(name)) for name in output_names or ()],
    )
