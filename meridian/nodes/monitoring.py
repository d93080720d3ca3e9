"""Nodes that watch: sums over time, health, alerts, samples."""

from __future__ import annotations

import random
from enum import Enum
from typing import TYPE_CHECKING, Any

from meridian.core.message import DATA, Message, current_scope
from meridian.nodes.alarm import Alarm
from meridian.nodes.arguments import functions, interval, member, number, wrong
from meridian.nodes.base import (
    BurstPipeNode,
    FunctionNode,
    NodeConfig,
    PipeNode,
    setup_standard_ports,
    validate_callable,
)
from meridian.observability.metrics import get_metrics

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AlertingNode", "HealthCheckNode", "MetricsCollectorNode", "SamplingNode", "SamplingStrategy"]


class MetricsCollectorNode(BurstPipeNode):
    """Adds up what functions read from DATA payloads, and emits the sums once a window.

    A window opens with its first message and closes ``aggregation_window_ms`` later, or at the end of the run, with
    ``{"count": messages, name: sum, ...}``. Without a run the first tick closes one, however young. The sums also become
    the gauges ``custom_metric_<name>``, labelled with the node's name, of whichever metrics are configured then. What an
    extractor can't read counts 0, and is counted as a failure in the report. CONTROL and ERROR are forwarded.

    Args:
        name: Unique within its graph.
        metric_extractors: Payload to number, by name of the metric.
        input_port: Name of the input.
        output_port: Name of the output.
        aggregation_window_ms: Milliseconds, at least 1.
        config: Settings; default ones if left out.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.monitoring import MetricsCollectorNode
        from meridian.testing import simulate

        got = []
        made = MetricsCollectorNode("sizes", {"bytes": len})
        simulate(graph("g", source(["ab", "cde"]) >> made >> sink(got.append, name="end")))
        assert got == [{"count": 2, "bytes": 5.0}]
        ```
    """

    def __init__(
        self,
        name: str,
        metric_extractors: dict[str, Callable[[Any], Any]],
        input_port: str = "input",
        output_port: str = "output",
        aggregation_window_ms: float = 60000,
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        if not isinstance(metric_extractors, dict):
            raise wrong(TypeError, self, "metric_extractors", metric_extractors, "a dict of functions")
        for extract in metric_extractors.values():
            validate_callable(extract)
        self._extractors = dict(metric_extractors)
        self._window = interval(self, "aggregation_window_ms", aggregation_window_ms)
        self._count = 0
        self._sums = dict.fromkeys(self._extractors, 0.0)
        self._alarm = Alarm(self)
        self._is_first_tick = True  # v1's, without a run

    def on_start(self) -> Any:
        self._is_first_tick = False
        if self._count:  # left from a run that was aborted
            self._alarm.set_in(self._window)
        return super().on_start()

    def _handle_data(self, msg: Message[Any]) -> None:
        for metric, extract in self._extractors.items():
            try:
                self._sums[metric] += float(extract(msg.payload))
            except Exception as error:  # noqa: BLE001 - counts 0, as in v1
                self.record_error(error)
        self._count += 1
        if self._alarm.at is None:
            self._alarm.set_in(self._window)

    def _handle_tick(self) -> None:
        if self._emit_backlog() and (self._is_first_tick or self._alarm.is_due()):
            self._is_first_tick = False
            self._close()

    def _close(self) -> None:
        self._alarm.clear()
        if not self._count:
            return
        summary = {"count": self._count, **self._sums}
        metrics = get_metrics()
        for metric, total in self._sums.items():
            metrics.gauge(f"custom_metric_{metric}", {"node": self.name}).set(total)
        self._count = 0
        self._sums = dict.fromkeys(self._extractors, 0.0)
        self._emit_all(self._output_port, (Message(DATA, summary),))

    def on_drain(self) -> Any:
        """Close the open window."""
        self._close()


class HealthCheckNode(FunctionNode):
    """Asks functions whether all is well, at the start and then every interval.

    Emits ``{"healthy": bool, "checks": [bool, ...]}``: whether all are, and each by itself, in the order given. A check that
    raises isn't. With a run of its own it ticks for ever: such a run ends by `Scheduler.shutdown`, or at a quiet moment
    after ``shutdown_timeout_s``.

    Args:
        name: Unique within its graph.
        health_checks: Functions without arguments; called one after the other, on the loop.
        output_port: Name of the output.
        check_interval_ms: Milliseconds, at least 1.
        config: Settings; default ones if left out.

    Example:
        ```python
        from meridian import graph, sink
        from meridian.nodes.monitoring import HealthCheckNode
        from meridian.testing import simulate

        got = []
        made = HealthCheckNode("health", [lambda: True, lambda: 1 / 0])
        simulate(graph("g", made >> sink(got.append, name="end")))
        assert got == [{"healthy": False, "checks": [True, False]}]
        ```
    """

    def __init__(
        self,
        name: str,
        health_checks: list[Callable[[], Any]],
        output_port: str = "output",
        check_interval_ms: float = 30000,
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, *setup_standard_ports(None, [output_port]), config)
        self._checks = functions(self, "health_checks", health_checks)
        self._output_port = output_port
        self._interval = interval(self, "check_interval_ms", check_interval_ms)
        self._alarm = Alarm(self)

    def on_start(self) -> Any:
        self._alarm.set_in(0)
        return super().on_start()

    def _handle_tick(self) -> None:
        if self._alarm.at is not None and not self._alarm.is_due():
            return
        self._alarm.repeat(self._interval)
        checks = [_is_well(check) for check in self._checks]
        self.emit(self._output_port, Message(DATA, {"healthy": all(checks), "checks": checks}))


def _is_well(check: Callable[[], Any]) -> bool:
    try:
        return bool(check())
    except Exception:  # noqa: BLE001 - a check that can't tell says no
        return False


class AlertingNode(BurstPipeNode):
    """Asks rules about each DATA payload, and raises an alert for each that answers with a text.

    An alert is told to each channel, and emitted as ``{"alert": text}`` with the trace and the headers of its message, in the
    order of the rules. Every other answer, the empty text included, is none. What a channel raises is counted as a failure in
    the report, and nothing else; what a rule raises follows the error policy. CONTROL and ERROR are forwarded.

    The text goes where the channels take it: what it tells about the payload is up to the rule.

    Args:
        name: Unique within its graph.
        alert_rules: Payload to text, or to ``None``.
        notification_channels: Functions that take a text; called one after the other, on the loop.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.monitoring import AlertingNode
        from meridian.testing import simulate

        told, got = [], []
        made = AlertingNode("alerts", [lambda x: "too hot" if x > 90 else None], [told.append])
        simulate(graph("g", source([20, 95]) >> made >> sink(got.append, name="end")))
        assert (told, got) == (["too hot"], [{"alert": "too hot"}])
        ```
    """

    def __init__(
        self,
        name: str,
        alert_rules: list[Callable[[Any], str | None]],
        notification_channels: list[Callable[[str], Any]] | None = None,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        self._rules = functions(self, "alert_rules", alert_rules)
        self._channels = functions(self, "notification_channels", notification_channels or [])

    def _handle_data(self, msg: Message[Any]) -> None:
        for rule in self._rules:
            try:
                text = rule(msg.payload)
            except Exception as error:  # noqa: BLE001 - the error policy decides
                told = self._error_message(error, msg)
                if told is not None:
                    self._emit_all(self._output_port, (told,))
                continue
            if isinstance(text, str) and text:
                self._notify(text)
                self._emit_all(self._output_port, (msg.with_payload({"alert": text}),))

    def _notify(self, text: str) -> None:
        for channel in self._channels:
            try:
                channel(text)
            except Exception as error:  # noqa: BLE001 - one channel that is down must not silence the others
                self.record_error(error)


class SamplingStrategy(str, Enum):
    """How a `SamplingNode` chooses."""

    RANDOM = "random"


class SamplingNode(PipeNode):
    """Forwards each DATA message with a given probability, and all others.

    Chance comes from the run where it has a source of its own (a simulation has: equal seeds choose equally), else from a
    generator of this node's.

    Args:
        name: Unique within its graph.
        sampling_rate: Probability, from 0 to 1; what is outside becomes the nearest of these.
        sampling_strategy: v1's; there is only one.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.
        seed: Makes this node's choices repeat by themselves, whatever the run.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.monitoring import SamplingNode
        from meridian.testing import simulate

        got = []
        made = SamplingNode("sample", 0.1, seed=1)
        simulate(graph("g", source(range(1000)) >> made >> sink(got.append, name="end")))
        assert 70 < len(got) < 130
        ```
    """

    def __init__(
        self,
        name: str,
        sampling_rate: float = 0.01,
        sampling_strategy: SamplingStrategy = SamplingStrategy.RANDOM,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        self._rate = min(max(number(self, "sampling_rate", sampling_rate), 0.0), 1.0)
        member(self, "sampling_strategy", sampling_strategy, SamplingStrategy)
        self._is_seeded = seed is not None
        self._random = random.Random(seed)

    def _handle_data(self, msg: Message[Any]) -> None:
        if self._chance().random() < self._rate:
            self.emit(self._output_port, msg)

    def _chance(self) -> random.Random:
        scope = None if self._is_seeded else current_scope.get()
        return self._random if scope is None or scope.random is None else scope.random

    def _native_form(self) -> tuple[Any, ...]:
        chances = (self._random, not self._is_seeded)
        return ("sample", (self._input_port,), self._output_port, *chances, self._rate)
