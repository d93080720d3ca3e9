"""Nodes that pull items from an iterator: one at a time at a pace, or in batches."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from meridian.core.errors import ConfigError
from meridian.core.message import CONTROL, DATA, Message
from meridian.nodes.alarm import MILLISECOND, Alarm, clock
from meridian.nodes.arguments import interval, size
from meridian.nodes.background import running_loop
from meridian.nodes.base import BurstNode, NodeConfig, setup_standard_ports, validate_function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["BatchProducer", "DataProducer"]

_LATENESS = 20 * MILLISECOND
"""What is made up for: timers are coarse, to about 1 ms on Linux and 16 ms on Windows."""


class _Producer(BurstNode):
    """Opens what it reads once per start, and ends it: by exhaustion, with a CONTROL message, or before its time."""

    def __init__(
        self, name: str, data_source: Callable[[], Iterator[Any]], output_port: str, config: NodeConfig | None
    ) -> None:
        super().__init__(name, *setup_standard_ports(None, [output_port]), config)
        validate_function(self, "data_source", data_source, 0)
        self._user_function = data_source
        self._output_port = output_port
        self._items: Iterator[Any] | None = None
        self._ended = False

    def on_start(self) -> Any:
        super().on_start()
        self._close()
        self._items = self._open()
        self._ended = False

    def _open(self) -> Iterator[Any]:
        items = self._call_user_function()
        try:
            return iter(items)
        except TypeError:
            raise ConfigError(
                f"{type(self).__name__} {self.name!r}: data_source() must return an iterator, "
                f"got {type(items).__name__}; source(...) takes asynchronous ones"
            ) from None

    def _next(self) -> Any:
        """Return the next item; without a start (in a harness) the first one opens the iterator."""
        if self._items is None:
            self._items = self._open()
        return next(self._items)

    def _end(self) -> Message[Any]:
        """Note that there is no more, and return what says so."""
        self._ended = True
        return Message(CONTROL, {"event": "completed"})

    def has_pending(self) -> bool | None:
        """Say whether something is left to produce, or waits for room."""
        return not self._ended or bool(self._backlog)

    def on_drain(self) -> Any:
        """Produce no more; what was taken from the iterator already is still emitted."""
        self._close()
        self._emit_backlog()

    def on_stop(self) -> Any:
        super().on_stop()
        self._close()

    def _close(self) -> None:
        """Produce no more, and let a generator run its ``finally``."""
        self._ended = True
        items, self._items = self._items, None
        if isinstance(items, Generator):
            items.close()


class DataProducer(_Producer):
    """Emits the items of an iterator, one every ``interval_ms``, then CONTROL ``{"event": "completed"}``.

    ``data_source`` is called once per start, and what it returned is asked for one item at a time, in the run's thread:
    it must not block. The first item leaves at once, each further one an interval later by the run's clock. Lateness of up
    to 20 ms is made up for, so that the rate is kept; the time that a full edge stops the production is not.

    An iterator that raises is dealt with as `NodeConfig.error_policy` says (`ErrorPolicy.EMIT_ERROR` raises: there is no
    message in hand), and asked again an interval later; a generator has ended by then. A shutdown ends the production;
    a generator is closed then, and nothing says ``completed``.

    Args:
        name: Unique within its graph.
        data_source: Returns the iterator; any iterable will do.
        interval_ms: Milliseconds from item to item; less than 1 counts as 1.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Raises:
        TypeError: ``interval_ms`` isn't a number.
        ValueError: it isn't finite, or ``data_source`` isn't a function without arguments.

    Example:
        ```python
        from meridian import graph, sink
        from meridian.nodes import DataProducer
        from meridian.testing import simulate

        got = []
        hours = DataProducer("hours", lambda: iter(range(24)), interval_ms=3_600_000)
        simulation = simulate(graph("day", hours >> sink(got.append)))
        assert got == list(range(24))
        assert round(simulation.elapsed_s / 3600, 3) == 24
        ```
    """

    def __init__(
        self,
        name: str,
        data_source: Callable[[], Iterator[Any]],
        interval_ms: float = 100,
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, data_source, output_port, config)
        self._interval = interval(self, "interval_ms", interval_ms)
        self._alarm = Alarm(self)
        self._alarm.at = 0  # from the first tick on
        # Until it asks for its own: a subclass may replace on_start without calling this one.
        self.regular_ticks = True

    def on_start(self) -> Any:
        super().on_start()
        self.regular_ticks = False
        self._alarm.set_in(0)

    def _handle_tick(self) -> None:
        if not self._emit_backlog() or self._ended or not self._alarm.is_due():
            return
        self._set_alarm()
        try:
            message = Message(DATA, self._next())
        except StopIteration:
            message = self._end()
        except Exception as error:  # noqa: BLE001 - the error policy decides
            self._handle_failure(error)
            return
        self._emit_all(self._output_port, (message,))

    def _set_alarm(self) -> None:
        now = clock(self)
        due = (self._alarm.at or 0) + self._interval
        self._alarm.set_at(due if due >= now - _LATENESS else now + self._interval)


class BatchProducer(_Producer):
    """Emits the items of an iterator as lists, one list per tick, then CONTROL ``{"event": "completed"}``.

    Each tick of the run (``tick_interval_ms``) takes ``batch_size`` items, in the run's thread: the iterator must not
    block. The last list may be shorter, and ``completed`` comes a tick after it, as CONTROL overtakes data (at the same tick
    in a harness). A list may also be shorter if its items took more than ``batch_timeout_ms`` to come; that is looked at
    after each item, as nothing can interrupt the iterator.

    Where the iterator raises, the items before are emitted as a shorter list, and the exception leaves the hook under
    every error policy; the next tick asks the iterator again. A shutdown ends the production as in `DataProducer`.

    Args:
        name: Unique within its graph.
        data_source: Returns the iterator, called once per start; any iterable will do.
        batch_size: Items of a list, at least 1.
        batch_timeout_ms: Milliseconds that an item may wait for the rest of its list; less than 1 counts as 1.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Raises:
        TypeError: a number is none.
        ValueError: ``batch_size`` is less than 1, ``batch_timeout_ms`` isn't finite, or ``data_source`` isn't a function
            without arguments.

    Example:
        ```python
        from meridian import graph, sink
        from meridian.nodes import BatchProducer
        from meridian.testing import simulate

        got = []
        letters = BatchProducer("letters", lambda: iter("abcdefg"), batch_size=3)
        simulate(graph("g", letters >> sink(got.append)))
        assert got == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
        ```
    """

    regular_ticks = True

    def __init__(
        self,
        name: str,
        data_source: Callable[[], Iterator[Any]],
        batch_size: int = 10,
        batch_timeout_ms: float = 1000,
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, data_source, output_port, config)
        self._batch_size = size(self, "batch_size", batch_size)
        self._timeout = interval(self, "batch_timeout_ms", batch_timeout_ms)

    def _handle_tick(self) -> None:
        if not self._emit_backlog() or self._ended:
            return
        batch: list[Any] = []
        messages: list[Message[Any]] = []
        due = 0
        try:
            while len(batch) < self._batch_size and (not batch or clock(self) < due):
                batch.append(self._next())
                due = due or clock(self) + self._timeout
        except StopIteration:
            # In a run the last list goes a tick ahead: CONTROL overtakes what waits on the same edge.
            if not batch or running_loop() is None:
                messages.append(self._end())
        finally:  # whatever the iterator raised
            if batch:
                messages.insert(0, Message(DATA, batch))
            self._emit_all(self._output_port, messages)
