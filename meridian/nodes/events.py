"""Nodes that look at several messages, or at the time: windows, groups that belong together, conditions that come true.

Windows and groups close exactly when their time is over, by the run's clock. When no more input comes they close at once:
nothing could be added any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meridian.core.message import CONTROL, DATA, Message
from meridian.nodes.alarm import Alarm, clock
from meridian.nodes.arguments import interval
from meridian.nodes.base import BurstNode, BurstPipeNode, NodeConfig, setup_standard_ports, validate_function
from meridian.observability.logging import get_logger
from meridian.redaction import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

__all__ = ["EventAggregator", "EventCorrelator", "TriggerNode"]


class _Group:
    """What came for one key.

    Attributes:
        items: The payloads, in order.
        last: The message that brought the last one.
        due: When its time is over, in microseconds of the node's clock.
    """

    __slots__ = ("due", "items", "last")

    def __init__(self, first: Message[Any], due: int) -> None:
        self.items = [first.payload]
        self.last = first
        self.due = due


class _Grouping(BurstPipeNode):
    """Collects payloads by key; a group ends when its time is over, at a CONTROL message, and when no more input comes."""

    def __init__(
        self, name: str, duration: str, milliseconds: Any, ports: tuple[str, str], config: NodeConfig | None
    ) -> None:
        super().__init__(name, *ports, config)
        self._duration = interval(self, duration, milliseconds)
        self._groups: dict[Hashable, _Group] = {}  # all live equally long, so the first one is due first
        self._alarm = Alarm(self)

    def on_start(self) -> Any:
        super().on_start()
        for group in self._groups.values():  # kept from a run before, which had a clock of its own
            group.due = clock(self) + self._duration
        self._set_alarm()

    def _handle_data(self, msg: Message[Any]) -> None:
        try:
            key = self._key(msg.payload)
            group = self._groups.get(key)
        except Exception as error:  # noqa: BLE001 - the error policy decides
            self._handle_failure(error, msg)
            return
        if group is None:
            group = self._groups[key] = _Group(msg, clock(self) + self._duration)
            if len(self._groups) == 1:
                self._set_alarm()
        else:
            group.items.append(msg.payload)
            group.last = msg
        self._added(key, group)

    def _pass_on(self, msg: Message[Any]) -> None:
        if msg.type is CONTROL:
            self._emit_all(self._output_port, self._close(everything=True, then=msg))
        else:
            super()._pass_on(msg)

    def _handle_tick(self) -> None:
        if self._emit_backlog() and self._alarm.is_due():
            self._emit_all(self._output_port, self._close())

    def on_drain(self) -> Any:
        """Close all groups: nothing more will come for them."""
        self._emit_all(self._output_port, self._close(everything=True))

    def _close(self, everything: bool = False, then: Message[Any] | None = None) -> Iterator[Message[Any]]:
        """Close the groups whose time is over, or all.

        One whose function fails stays, for another interval; under `ErrorPolicy.RAISE_EXCEPTION` the first failure is
        raised when the others are closed.
        """
        now = clock(self)
        raised: Exception | None = None
        for key, group in list(self._groups.items()):
            if not everything and group.due > now:
                break
            del self._groups[key]
            try:
                result = self._result(key, group)
            except Exception as error:  # noqa: BLE001 - the error policy decides
                group.due = clock(self) + self._duration
                self._groups[key] = group
                try:
                    message = self._error_message(error, group.last)
                except Exception as error:  # noqa: BLE001 - raised below
                    if raised is not None:
                        self.record_error(error)
                    raised = raised or error
                    continue
                if message is not None:
                    yield message
            else:
                if result is not None:
                    yield group.last.with_payload(result)
        self._set_alarm()
        if then is not None:
            yield then
        if raised is not None:
            raise raised

    def _set_alarm(self) -> None:
        if self._groups:
            self._alarm.set_at(next(iter(self._groups.values())).due)
        else:
            self._alarm.clear()

    def _key(self, payload: Any) -> Hashable:
        raise NotImplementedError

    def _added(self, key: Hashable, group: _Group) -> None:
        """Look at a group that has grown."""

    def _result(self, key: Hashable, group: _Group) -> Any:
        """Return the payload that a group which ends by itself becomes, or ``None``."""
        raise NotImplementedError


class EventAggregator(_Grouping):
    """Collects payloads per key for a while, then emits what a function makes of them.

    A window opens with the first payload of its key and lasts ``window_ms``. It ends sooner at a CONTROL message, which
    is forwarded behind the results, and when no more input comes. ``None`` as a result emits nothing. Results travel with
    the trace, the headers and the metadata of the last message of their window. ERROR messages pass unchanged.

    Where the function fails, the error policy decides, and the window stays open for another ``window_ms``: its payloads
    aren't lost. A message whose key can't be told is dealt with by the error policy alone. What is kept is all payloads of open
    windows.

    Args:
        name: Unique within its graph.
        window_ms: Milliseconds from the first payload of a window to its end; less than 1 counts as 1.
        aggregation_fn: Takes the list of payloads, returns the result.
        input_port: Name of the input.
        output_port: Name of the output.
        key_fn: Takes a payload, returns its key, which must be hashable. Without it all payloads have the same.
        config: Settings; default ones if left out.

    Raises:
        TypeError: ``window_ms`` isn't a number.
        ValueError: it isn't finite, or a function isn't a plain one of one argument.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes import EventAggregator
        from meridian.testing import simulate

        got = []
        totals = EventAggregator("totals", 60_000, sum, key_fn=lambda x: x % 2)
        simulate(graph("g", source(range(6)) >> totals >> sink(got.append)))
        assert got == [0 + 2 + 4, 1 + 3 + 5]
        ```
    """

    def __init__(
        self,
        name: str,
        window_ms: float,
        aggregation_fn: Callable[[list[Any]], Any],
        input_port: str = "input",
        output_port: str = "output",
        key_fn: Callable[[Any], Hashable] | None = None,
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, "window_ms", window_ms, (input_port, output_port), config)
        validate_function(self, "aggregation_fn", aggregation_fn, 1)
        if key_fn is not None:
            validate_function(self, "key_fn", key_fn, 1)
        self._user_function = aggregation_fn
        self._key_fn = key_fn

    def _key(self, payload: Any) -> Hashable:
        return None if self._key_fn is None else self._key_fn(payload)

    def _result(self, key: Hashable, group: _Group) -> Any:
        return self._call_user_function(group.items)


class EventCorrelator(_Grouping):
    """Collects payloads that belong together until they are complete, or until it takes too long.

    A complete group leaves as ``{"key": ..., "items": [...]}``. One that isn't complete ``timeout_ms`` after its first
    payload leaves as the same with ``"timeout": True``; so do all groups at a CONTROL message, which is forwarded behind
    them, and when no more input comes. Groups travel with the trace, the headers and the metadata of their last message.
    ERROR messages pass unchanged.

    Where the predicate fails, the error policy decides, and the group stays. A message whose key can't be told is dealt with
    by the error policy alone. What is kept is all payloads of incomplete groups.

    Args:
        name: Unique within its graph.
        correlation_fn: Takes a payload, returns the key of its group, which must be hashable.
        completion_predicate: Takes the list of payloads of a group, says whether it is complete; asked after each payload.
        timeout_ms: Milliseconds from the first payload of a group to its end; less than 1 counts as 1.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Raises:
        TypeError: ``timeout_ms`` isn't a number.
        ValueError: it isn't finite, or a function isn't a plain one of one argument.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes import EventCorrelator
        from meridian.testing import simulate

        got = []
        pairs = EventCorrelator(
            "pairs", str.lower, lambda items: len(items) == 2, timeout_ms=1000
        )
        simulate(graph("g", source(["a", "b", "A"]) >> pairs >> sink(got.append)))
        assert got == [
            {"key": "a", "items": ["a", "A"]},
            {"key": "b", "items": ["b"], "timeout": True},
        ]
        ```
    """

    def __init__(
        self,
        name: str,
        correlation_fn: Callable[[Any], Hashable],
        completion_predicate: Callable[[list[Any]], Any],
        timeout_ms: float,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, "timeout_ms", timeout_ms, (input_port, output_port), config)
        validate_function(self, "correlation_fn", correlation_fn, 1)
        validate_function(self, "completion_predicate", completion_predicate, 1)
        self._user_function = completion_predicate
        self._correlation_fn = correlation_fn

    def _key(self, payload: Any) -> Hashable:
        return self._correlation_fn(payload)

    def _added(self, key: Hashable, group: _Group) -> None:
        try:
            complete = bool(self._call_user_function(group.items))
        except Exception as error:  # noqa: BLE001 - the error policy decides
            self._handle_failure(error, group.last)
            return
        if complete:
            del self._groups[key]
            payload = {"key": key, "items": group.items}
            self._emit_all(self._output_port, (group.last.with_payload(payload),))

    def _result(self, key: Hashable, group: _Group) -> Any:
        return {"key": key, "items": group.items, "timeout": True}


class TriggerNode(BurstNode):
    """Emits a payload whenever a condition becomes true.

    The condition is asked at the start (by a harness, at the first tick) and then every ``check_interval_ms``, by the run's
    clock; it counts as false before. While it stays true nothing more is emitted. An exception counts as false; a warning,
    ``trigger.error`` (at most one a second), and the report tell.

    It never ends by itself: a run in which nothing else is left to do ends after ``shutdown_timeout_s``.

    Args:
        name: Unique within its graph.
        trigger_fn: Says whether the condition holds; takes nothing.
        trigger_payload: What is emitted.
        check_interval_ms: Milliseconds from check to check; less than 1 counts as 1.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Raises:
        TypeError: ``check_interval_ms`` isn't a number.
        ValueError: it isn't finite, or ``trigger_fn`` isn't a plain function without arguments.

    Example:
        ```python
        from meridian import graph, sink
        from meridian.nodes import TriggerNode
        from meridian.testing import simulate

        level = iter([5, 20, 30, 5, 40])
        got = []
        alarm = TriggerNode(
            "alarm", lambda: next(level, 0) > 10, "too high", check_interval_ms=100
        )
        simulate(graph("g", alarm >> sink(got.append)), until_s=1)
        assert got == ["too high", "too high"]
        ```
    """

    regular_ticks = True  # they say that there is no end

    def __init__(
        self,
        name: str,
        trigger_fn: Callable[[], Any],
        trigger_payload: Any = None,
        check_interval_ms: float = 1000,
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, *setup_standard_ports(None, [output_port]), config)
        validate_function(self, "trigger_fn", trigger_fn, 0)
        self._user_function = trigger_fn
        self._payload = trigger_payload
        self._interval = interval(self, "check_interval_ms", check_interval_ms)
        self._output_port = output_port
        self._held = False
        self._alarm = Alarm(self)
        self._alarm.at = 0  # from the first tick on

    def on_start(self) -> Any:
        super().on_start()
        self._held = False
        self._alarm.set_in(0)

    def _handle_tick(self) -> None:
        if not self._emit_backlog() or not self._alarm.is_due():
            return
        self._alarm.repeat(self._interval)
        try:
            holds = bool(self._call_user_function())
        except Exception as error:  # noqa: BLE001 - counts as false
            holds = False
            self.record_error(error)
            described = describe_error(error)
            get_logger().warn_limited(
                ("trigger.error", self.name), "trigger.error", "the condition failed and counts as false",
                node=self.name, error_type=described.type, where=described.where,
            )  # fmt: skip
        became_true, self._held = holds and not self._held, holds
        if became_true:
            self._emit_all(self._output_port, (Message(DATA, self._payload),))

    def has_pending(self) -> bool | None:
        """Say that something waits for room, or that nobody knows whether the condition will hold again."""
        return bool(self._backlog) or None
