"""Nodes that remember: a state, sessions, counts, windows."""

from __future__ import annotations

from array import array
from collections import OrderedDict, deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from meridian.core.message import CONTROL, DATA, Message
from meridian.nodes.alarm import Alarm, clock
from meridian.nodes.arguments import flag, interval, member, size, wrong
from meridian.nodes.base import BurstPipeNode, NodeConfig, PipeNode, validate_callable

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

__all__ = ["CounterNode", "SessionNode", "StateMachineNode", "WindowNode", "WindowType"]


class WindowType(str, Enum):
    """How windows lie; `WindowNode` slides when it has a ``slide_interval_ms``."""

    TUMBLING = "tumbling"


class StateMachineNode(PipeNode):
    """Holds a state, which each DATA payload may change, and tells of every change.

    A change is told as ``{"event": "state_changed", "from": old, "to": new}``, with the trace and the headers of the message
    that brought it. A transition function that raises changes nothing; the failure is counted in the report, whatever the
    error policy. CONTROL and ERROR are forwarded.

    Args:
        name: Unique within its graph.
        initial_state: The first state.
        transition_fn: ``(state, payload)`` to the state that follows, which may be the same.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.state_management import StateMachineNode
        from meridian.testing import simulate


        def door(state, event):
            return {"open": "opened", "close": "closed"}[event]


        got = []
        made = StateMachineNode("door", "closed", door)
        simulate(graph("g", source(["close", "open"]) >> made >> sink(got.append, name="end")))
        assert got == [{"event": "state_changed", "from": "closed", "to": "opened"}]
        assert made.state == "opened"
        ```
    """

    def __init__(
        self,
        name: str,
        initial_state: str,
        transition_fn: Callable[[Any, Any], Any],
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        validate_callable(transition_fn)
        self._user_function = transition_fn
        self._state: Any = initial_state

    @property
    def state(self) -> Any:
        """The state it is in; kept between runs."""
        return self._state

    def _handle_data(self, msg: Message[Any]) -> None:
        old = self._state
        try:
            assert self._user_function is not None
            new = self._user_function(old, msg.payload)
            is_changed = bool(new != old)
        except Exception as error:  # noqa: BLE001 - an impossible transition is no change
            self.record_error(error)
            return
        if is_changed:
            self._state = new
            self.emit(self._output_port, msg.with_payload({"event": "state_changed", "from": old, "to": new}))


class SessionNode(BurstPipeNode):
    """Tells when the messages of a key begin to come, and when they have stopped.

    The first DATA message of a key emits ``{"event": "session_started", "key": key}``, with its trace and headers, and
    each one renews the session. After ``session_timeout_ms`` without one, exactly then, ``{"event": "session_expired",
    "key": key}`` follows; at the end of a run all sessions expire, the one that was renewed least recently first. Where a
    new session finds no room, that one expires before its time. CONTROL and ERROR are forwarded.

    Args:
        name: Unique within its graph.
        session_timeout_ms: Milliseconds, at least 1.
        max_sessions: Most sessions at a time, at least 1.
        session_key_fn: Payload to key, which must be hashable; ``str(payload)`` by default. Failures follow the error
            policy.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Cost: constant per message.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.state_management import SessionNode
        from meridian.testing import simulate

        got = []
        simulate(
            graph(
                "g",
                source(["ann", "ann"]) >> SessionNode("sessions") >> sink(got.append, name="end"),
            )
        )
        assert got == [
            {"event": "session_started", "key": "ann"},
            {"event": "session_expired", "key": "ann"},
        ]
        ```
    """

    def __init__(
        self,
        name: str,
        session_timeout_ms: float = 300000,
        max_sessions: int = 10000,
        session_key_fn: Callable[[Any], Hashable] | None = None,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        if session_key_fn is not None:
            validate_callable(session_key_fn)
        self._key_of: Callable[[Any], Hashable] = session_key_fn or str
        self._timeout = interval(self, "session_timeout_ms", session_timeout_ms)
        self._max_sessions = size(self, "max_sessions", max_sessions)
        self._expires: OrderedDict[Hashable, int] = OrderedDict()
        """When each session ends, in microseconds of the node's clock; the next one first."""
        self._alarm = Alarm(self)

    def on_start(self) -> Any:
        if self._expires:  # left from a run that was aborted, and that had a clock of its own
            self._expires = OrderedDict.fromkeys(self._expires, clock(self) + self._timeout)
            self._set_alarm()
        return super().on_start()

    def _handle_data(self, msg: Message[Any]) -> None:
        try:
            key = self._key_of(msg.payload)
            hash(key)
        except Exception as error:  # noqa: BLE001 - the error policy decides
            self._handle_failure(error, msg)
            return
        now = clock(self)
        events = [*self._ended(now)]
        sessions = self._expires
        if key not in sessions:
            if len(sessions) >= self._max_sessions:
                events.append(_expired(sessions.popitem(last=False)[0]))
            events.append(msg.with_payload({"event": "session_started", "key": key}))
        sessions[key] = now + self._timeout
        sessions.move_to_end(key)
        if self._alarm.at is None:
            self._set_alarm()
        if events:
            self._emit_all(self._output_port, events)

    def _ended(self, now: int | None = None) -> Iterator[Message[Any]]:
        """End the sessions whose time is up by ``now``; all of them without it."""
        sessions = self._expires
        while sessions:
            key, expires = next(iter(sessions.items()))
            if now is not None and expires > now:
                return
            del sessions[key]
            yield _expired(key)

    def _set_alarm(self) -> None:
        if self._expires:
            self._alarm.set_at(next(iter(self._expires.values())))
        else:
            self._alarm.clear()

    def _handle_tick(self) -> None:
        if self._emit_backlog():
            self._emit_all(self._output_port, self._ended(clock(self)))
            self._set_alarm()

    def on_drain(self) -> Any:
        """End all sessions."""
        self._alarm.clear()
        self._emit_all(self._output_port, self._ended())


def _expired(key: Hashable) -> Message[Any]:
    return Message(DATA, {"event": "session_expired", "key": key})


class CounterNode(BurstPipeNode):
    """Adds up numbers by key, and emits all sums as ``{key: float}``.

    A DATA payload that is a dict adds its numeric values of known keys; one that is a known key itself, as text, adds 1.
    Everything else adds nothing. A summary is emitted at the start, or at the first tick of a harness, and then every
    interval; and at the end, if something was counted since the last one. CONTROL and ERROR are forwarded.

    Args:
        name: Unique within its graph.
        counter_keys: The known keys.
        summary_interval_ms: Milliseconds, at least 1.
        reset_on_summary: Whether sums begin anew after each summary.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.state_management import CounterNode
        from meridian.testing import simulate

        got = []
        made = CounterNode("counter", ["hits", "bytes"])
        simulate(
            graph(
                "g",
                source(["hits", {"hits": 2, "bytes": 512}])
                >> made
                >> sink(got.append, name="end"),
            )
        )
        assert got[-1] == {"hits": 3.0, "bytes": 512.0}
        ```
    """

    def __init__(
        self,
        name: str,
        counter_keys: list[str],
        summary_interval_ms: float = 60000,
        reset_on_summary: bool = False,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        keys: Any = counter_keys
        if not isinstance(keys, (list, tuple, set, frozenset)) or not all(
            isinstance(key, str) for key in keys
        ):
            raise wrong(TypeError, self, "counter_keys", keys, "a list of str")
        self._places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        # Arrays, which native code can share: the sums, and how often something was added since they were told.
        self._sums = array("d", [0.0] * len(self._places))
        self._untold = array("d", [0.0])
        self._interval = interval(self, "summary_interval_ms", summary_interval_ms)
        self._resets = flag(self, "reset_on_summary", reset_on_summary)
        self._alarm = Alarm(self)

    def on_start(self) -> Any:
        self._alarm.set_in(0)
        return super().on_start()

    def _handle_data(self, msg: Message[Any]) -> None:
        payload, places = msg.payload, self._places
        if isinstance(payload, dict):
            for key, place in places.items():
                value = payload.get(key)
                if isinstance(value, (int, float)):
                    self._add(place, value)
        elif isinstance(payload, str) and payload in places:
            self._add(places[payload], 1.0)

    def _add(self, place: int, value: float) -> None:
        self._sums[place] += value
        self._untold[0] += 1

    def _handle_tick(self) -> None:
        if self._emit_backlog() and (self._alarm.at is None or self._alarm.is_due()):
            self._alarm.repeat(self._interval)
            self._tell()

    def _tell(self) -> None:
        summary = dict(zip(self._places, self._sums, strict=True))
        self._untold[0] = 0
        if self._resets:
            for place in self._places.values():
                self._sums[place] = 0.0
        self._emit_all(self._output_port, (Message(DATA, summary),))

    def on_drain(self) -> Any:
        """Tell what was counted since the last summary."""
        if self._untold[0]:
            self._tell()

    def _native_form(self) -> tuple[Any, ...]:
        sums = (self._places, self._sums, self._untold)
        return ("count", (self._input_port,), self._output_port, *sums)


class WindowNode(BurstPipeNode):
    """Collects payloads over a time, and emits them as a list or as what a function makes of the list.

    A window opens with its first item and closes exactly ``window_size_ms`` later; the next one opens with the next item.
    What comes in the very moment in which a window closes belongs to the next. CONTROL closes the open window at once, and
    is forwarded behind it; so does the end of the run. ERROR is forwarded.

    With ``slide_interval_ms`` a further window opens every so many milliseconds while there are items for it, and an item
    belongs to each window that is open when it comes, so it is emitted up to ``window_size_ms / slide_interval_ms`` times,
    rounded up. Windows without items aren't emitted. CONTROL and the end close the oldest open window; those that opened
    later hold nothing that it doesn't hold, and are given up. (v1 took the parameter and ignored it.)

    Args:
        name: Unique within its graph.
        window_type: v1's; there is only one.
        window_size_ms: Milliseconds, at least 1.
        slide_interval_ms: Milliseconds, at least 1 and at most ``window_size_ms``; ``None`` for windows one after the other.
        aggregation_fn: The list of payloads to what is emitted; ``None`` as its result emits nothing. If it raises, the
            window is gone, as the error policy says.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Cost: the items of one window are kept in memory.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.state_management import WindowNode
        from meridian.testing import simulate

        got = []
        made = WindowNode("window", window_size_ms=1000, aggregation_fn=sum)
        simulate(graph("g", source([1, 2, 3]) >> made >> sink(got.append, name="end")))
        assert got == [6]
        ```
    """

    def __init__(
        self,
        name: str,
        window_type: WindowType = WindowType.TUMBLING,
        window_size_ms: float = 60000,
        slide_interval_ms: float | None = None,
        aggregation_fn: Callable[[list[Any]], Any] | None = None,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        member(self, "window_type", window_type, WindowType)
        self._size = interval(self, "window_size_ms", window_size_ms)
        self._slide = self._size
        if slide_interval_ms is not None:
            self._slide = interval(self, "slide_interval_ms", slide_interval_ms)
            if self._slide > self._size:
                allowed = f"at most window_size_ms ({window_size_ms:g}), as items in between would be lost"
                raise wrong(ValueError, self, "slide_interval_ms", slide_interval_ms, allowed)
        if aggregation_fn is not None:
            validate_callable(aggregation_fn)
        self._user_function = aggregation_fn
        self._items: deque[tuple[int, Message[Any]]] = deque()
        """With the moment at which each came, in microseconds of the node's clock."""
        self._opened = 0
        """When the oldest window opened; meaningless without items."""
        self._alarm = Alarm(self)

    def on_start(self) -> Any:
        if self._items:  # left from a run that was aborted, and that had a clock of its own
            now = clock(self)
            self._items = deque((now, msg) for _, msg in self._items)
            self._open(now)
        return super().on_start()

    def _handle_data(self, msg: Message[Any]) -> None:
        now = clock(self)
        if self._items and self._opened + self._size <= now:  # its tick comes too late
            try:
                self._emit_all(self._output_port, self._closed())
            finally:
                self._add(now, msg)
        else:
            self._add(now, msg)

    def _pass_on(self, msg: Message[Any]) -> None:
        try:
            if msg.type is CONTROL:
                self._emit_all(self._output_port, self._closed(at_once=True))
        finally:
            super()._pass_on(msg)

    def _add(self, now: int, msg: Message[Any]) -> None:
        self._items.append((now, msg))
        if len(self._items) == 1:
            self._open(now)

    def _open(self, now: int) -> None:
        self._opened = now
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._items:
            self._alarm.set_at(self._opened + self._size)
        else:
            self._alarm.clear()

    def _closed(self, *, at_once: bool = False) -> Iterator[Message[Any]]:
        """Close the windows whose time is up; ``at_once`` also the oldest one of the rest."""
        items = self._items
        while items:
            is_due = self._opened + self._size <= clock(self)
            if not (is_due or at_once):
                break
            window = [msg for _, msg in items]
            if is_due:
                self._opened += self._slide
                while items and items[0][0] < self._opened:
                    items.popleft()
            else:
                items.clear()
            self._set_alarm()  # before the function is called: if that raises, this is over
            yield from self._made_of(window)
        self._set_alarm()

    def _made_of(self, window: list[Message[Any]]) -> Iterator[Message[Any]]:
        result: Any = [msg.payload for msg in window]
        if self._user_function is not None:
            try:
                result = self._user_function(result)
            except Exception as error:  # noqa: BLE001 - the error policy decides
                told = self._error_message(error, window[-1])
                if told is not None:
                    yield told
                return
        if result is not None:
            yield Message(DATA, result)

    def _handle_tick(self) -> None:
        if self._emit_backlog():
            self._emit_all(self._output_port, self._closed())

    def on_drain(self) -> Any:
        """Close the open window."""
        self._emit_all(self._output_port, self._closed(at_once=True))
