"""Metrics, traces and logs for OpenTelemetry, sent over OTLP.

    with configure_opentelemetry(sample_ratio=0.01):
        scheduler.run()

Where the application has set up OpenTelemetry itself, its providers are used and nothing of them is changed. Otherwise
providers are made here, as the standard variables ``OTEL_*`` say, and become OpenTelemetry's global ones.

**A run never waits for an exporter.** Spans and lines wait in a queue with a bound, and a thread sends them. What finds no
room, or can't be sent, is counted in `Telemetry.shed` and told as the event ``telemetry.shed``. Metrics are read by the
thread that sends them, in one look for all of them.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from logging import Handler, LogRecord
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from meridian.core.errors import ConfigError
from meridian.nodes.extras import load
from meridian.observability.adapters.catalogue import CATALOGUE, SERIES, Metric, Point, Reader
from meridian.observability.context import log_fields
from meridian.observability.events import get_events
from meridian.observability.logging import LogLevel, get_logger
from meridian.observability.otel_spans import SCOPE, OpenTelemetryTracer
from meridian.observability.tracing import TracingConfig, configure_tracing, get_tracer, use_tracer
from meridian.redaction import redactor, type_name

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from meridian.core.scheduler import Scheduler

__all__ = ["OpenTelemetryHandler", "Telemetry", "configure_opentelemetry"]

SIGNALS = ("traces", "metrics", "logs")

FLUSH_S = 5.0
"""So long `Telemetry.close` waits for what is still to be sent."""

_RATIOS = {"always_on": 1.0, "always_off": 0.0, "traceidratio": None}
"""What ``OTEL_TRACES_SAMPLER`` may say, behind ``parentbased_`` or not; ``None`` is for what the argument says."""


# ---- what is shed ----------------------------------------------------------------------------------------------------


class _Books:
    """Counts what one signal has on its way, and what it shed; see `Telemetry.shed`."""

    def __init__(self, signal: str, most: int) -> None:
        self.signal = signal
        self.most = most
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        """Begin anew: also in a forked child, which sends nothing of its parent's."""
        self.waiting = self.shed = 0
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Take in one more, or shed it where there is no room."""
        with self._lock:
            fits = self.waiting < self.most
            self.waiting += fits
        if not fits:
            self.lose(1, "the queue is full")
        return fits

    def leave(self, n: int) -> None:
        """So many are being sent."""
        with self._lock:
            self.waiting -= n

    def lose(self, n: int, reason: str) -> None:
        """So many are lost."""
        with self._lock:
            self.shed += n
            total = self.shed
        get_events().record("telemetry.shed", what=self.signal, reason=reason, n=n, total=total)


def _send(books: _Books, export: Callable[..., Any], batch: Any, n: int, **more: Any) -> Any:
    """Export a batch, and count it as lost if that fails."""
    try:
        answer = export(batch, **more)
    except BaseException:
        books.lose(n, "the exporter failed")
        raise
    if getattr(answer, "name", "") != "SUCCESS":
        books.lose(n, "the exporter was refused, or had no answer in time")
    return answer


class _Told:
    """An exporter of spans or of lines that keeps the books."""

    def __init__(self, exporter: Any, books: _Books) -> None:
        self._exporter = exporter
        self._books = books

    def export(self, batch: Any) -> Any:
        self._books.leave(len(batch))
        return _send(self._books, self._exporter.export, batch, len(batch))

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _bounded(signal: str, exporter: Any, most: int, batching: Callable[..., Any]) -> tuple[Any, _Books]:
    """Return a processor of spans or of lines that never waits, and its books.

    Args:
        signal: What it is about.
        exporter: Sends batches.
        most: So many may wait.
        batching: The SDK's processor that makes batches of them.
    """
    from opentelemetry.sdk._logs import LogRecordProcessor
    from opentelemetry.sdk.trace import SpanProcessor

    books = _Books(signal, most)

    class Bounded(SpanProcessor, LogRecordProcessor):
        """In front of the SDK's queue, which drops what is too much and tells nobody."""

        def __init__(self) -> None:
            self._rest: Any = batching(
                _Told(exporter, books), max_queue_size=most, max_export_batch_size=min(most, 512)
            )

        def on_end(self, span: Any) -> None:
            if span.context is not None and span.context.trace_flags.sampled and books.enter():
                self._rest.on_end(span)

        def on_emit(self, log_record: Any) -> None:
            if books.enter():
                self._rest.on_emit(log_record)

        def shutdown(self) -> None:
            self._rest.shutdown()

        def force_flush(self, timeout_millis: int = 30000) -> bool:
            flushed: bool = self._rest.force_flush(timeout_millis)
            return flushed

    return Bounded(), books


def _metric_reader(exporter: Any) -> tuple[Any, _Books]:
    from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader

    books = _Books("metrics", 1)

    class Told(MetricExporter):
        def export(self, metrics_data: Any, timeout_millis: float = 10_000, **kwargs: Any) -> Any:
            return _send(books, exporter.export, metrics_data, 1, timeout_millis=timeout_millis, **kwargs)

        def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
            exporter.shutdown(timeout_millis, **kwargs)

        def force_flush(self, timeout_millis: float = 10_000) -> bool:
            flushed: bool = exporter.force_flush(timeout_millis)
            return flushed

    # How counters are to be sent is the exporter's to say, and what it was told by the environment.
    told = Told(exporter._preferred_temporality, exporter._preferred_aggregation)
    return PeriodicExportingMetricReader(told), books


# ---- metrics ---------------------------------------------------------------------------------------------------------


class _Instruments:
    """Asynchronous instruments for all metrics of the catalogue; one look serves all that one collection asks for.

    Args:
        meter: Where they are made.
        reader: Who looks.
    """

    def __init__(self, meter: Any, reader: Reader) -> None:
        self._reader = reader
        self._asked = threading.local()
        self._since: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[float, float, str]] = {}
        """Of each counter what earlier runs left, what was told last, and of which run: their sum only grows."""
        self.closed = False
        for metric in CATALOGUE:
            make = (
                meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
            )
            make(metric.name, callbacks=[self._observing(metric)], unit=metric.unit, description=metric.what)

    def _observing(self, metric: Metric) -> Callable[[Any], Iterable[Any]]:
        from opentelemetry.metrics import Observation

        def observe(options: Any) -> Iterable[Any]:
            del options
            points = () if self.closed else self._points(metric)
            if metric.kind != "counter":
                return [Observation(value, labels) for labels, value in points]
            return [Observation(self._total(metric, labels, value), labels) for labels, value in points]

        return observe

    def _points(self, metric: Metric) -> list[Point]:
        # A collection asks each instrument once, on one thread: who is asked again is in the next collection.
        asked = self._asked
        left: dict[str, list[Point]] | None = getattr(asked, "left", None)
        if left is None or metric.name not in left:
            left = asked.left = {each.name: points for each, points in self._reader.read()}
            asked.runs = self._reader.runs()
        return left.pop(metric.name)

    def _total(self, metric: Metric, labels: dict[str, str], value: float) -> float:
        number = labels.get(SERIES, "1").partition(".")[0]
        run: str = "" if metric.of == "process" else self._asked.runs[number]
        key = metric.name, tuple(sorted(labels.items()))
        before, last, of_run = self._since.get(key) or (0.0, 0.0, run)
        if run != of_run:
            before += last
        self._since[key] = before, value, run
        return before + value


# ---- logs ------------------------------------------------------------------------------------------------------------

_SEVERITY = {"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17}


class _Writer:
    """Writes records of Meridian's log, which went through the redaction policy, to an OpenTelemetry logger."""

    def __init__(self, logger_provider: Any) -> None:
        self._logger = logger_provider.get_logger(SCOPE)

    def __call__(self, record: Mapping[str, object]) -> None:
        said = dict(record)
        at, level, event, message = (said.pop(key, None) for key in ("ts", "level", "event", "message"))
        attributes: dict[str, object] = {
            f"meridian.{key}": value if isinstance(value, str | bool | int | float) else type_name(value)
            for key, value in said.items()
        }
        attributes["meridian.event"] = str(event)
        self.write(float(at) if isinstance(at, int | float) else 0.0, str(level), str(message), attributes)

    def write(self, at_s: float, level: str, message: str, attributes: Mapping[str, Any]) -> None:
        """Write one record; what it belongs to is the span whose block this is."""
        from opentelemetry._logs import LogRecord as OtelRecord
        from opentelemetry._logs import SeverityNumber
        from opentelemetry.context import get_current

        ns = int(at_s * 1e9)
        self._logger.emit(
            OtelRecord(
                timestamp=ns,
                observed_timestamp=ns,
                context=get_current(),
                severity_text=level,
                severity_number=SeverityNumber(_SEVERITY.get(level, 9)),
                body=message,
                attributes=dict(attributes),
            )
        )


class OpenTelemetryHandler(Handler):
    """A handler of Python's `logging` for an application's own lines: redacted, with node and trace.

    Put it on a logger of yours. What was put into a record besides its text isn't sent, and of an exception only its class,
    unless the redaction policy shows more.

    Args:
        telemetry: Where they go; what `configure_opentelemetry` returned, with logs.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__()
        self._telemetry = telemetry

    def emit(self, record: LogRecord) -> None:
        """Send a record, unless it is OpenTelemetry's own: an exporter that fails would have ever more to say."""
        writer = self._telemetry._writer
        if writer is None or record.name.partition(".")[0] == "opentelemetry":
            return
        try:
            level = "ERROR" if record.levelno >= 40 else LogLevel.parse(record.levelname).value
        except ValueError:  # a level of the application's own
            level = "INFO"
        tell = redactor()
        try:
            fields: dict[str, Any] = tell.data(log_fields())  # type: ignore[assignment]  # a dict stays one
            attributes = {f"meridian.{key}": str(value) for key, value in fields.items()}
            attributes["logger"] = tell.text(record.name)
            if record.exc_info is not None and record.exc_info[1] is not None:
                described = tell.describe(record.exc_info[1])
                attributes |= {
                    "exception.type": tell.text(described.type),
                    "exception.message": described.message,
                }
            writer.write(record.created, level, tell.text(record.getMessage()), attributes)
        except Exception:  # noqa: BLE001  # as every handler: whoever logs has something better to do
            self.handleError(record)

    def handleError(self, record: LogRecord) -> None:  # noqa: N802  # its name in `logging`
        """Say nothing: what `logging` prints here shows the record's arguments."""


# ---- all together ----------------------------------------------------------------------------------------------------


class Telemetry:
    """What `configure_opentelemetry` set up; also a context manager, which closes it.

    Attributes:
        signals: Which are sent: some of ``traces``, ``metrics``, ``logs``.
    """

    def __init__(self, flush_s: float) -> None:
        self._flush_s = flush_s
        self._providers: list[Any] = []
        self._books: dict[str, _Books] = {}
        self._tracer: OpenTelemetryTracer | None = None
        self._instruments: _Instruments | None = None
        self._writer: _Writer | None = None
        self.signals: tuple[str, ...] = ()

    @property
    def shed(self) -> dict[str, int]:
        """How much of each signal was lost: spans, readings of the metrics, lines.

        Nothing is known of what goes to the application's own providers.
        """
        return {signal: books.shed for signal, books in self._books.items()}

    def flush(self, timeout_s: float | None = None) -> bool:
        """Send what waits, for so many seconds at most; return whether all of it was handed to the exporters."""
        limit_s = self._flush_s if timeout_s is None else timeout_s
        return _within(limit_s, lambda provider: provider.force_flush(int(limit_s * 1000)), self._providers)

    def close(self, timeout_s: float | None = None) -> None:
        """Send what waits, for so many seconds at most, and stop sending; closing twice is once.

        Providers of the application stay as they are.
        """
        _open.discard(self)
        if self._tracer is not None and get_tracer() is self._tracer:
            configure_tracing(TracingConfig())
        if self._writer is not None and get_logger().also is self._writer:
            get_logger().also = None
        providers, self._providers = self._providers, []
        _within(self._flush_s if timeout_s is None else timeout_s, lambda each: each.shutdown(), providers)
        if self._instruments is not None:
            self._instruments.closed = True
        self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _within(limit_s: float, do: Callable[[Any], Any], providers: list[Any]) -> bool:
    """Do something with each provider, all at the same time; return whether all were done within the limit, and well."""
    # The SDK's own limits are per provider, and those of older ones are ignored: so nobody waits for its threads.
    answers: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda each=provider: answers.append(do(each) is not False),
            name="meridian-otel",
            daemon=True,
        )
        for provider in providers
    ]
    for thread in threads:
        thread.start()
    end = min(limit_s, threading.TIMEOUT_MAX)
    deadline = monotonic() + end
    for thread in threads:
        thread.join(max(deadline - monotonic(), 0.0))
    return len(answers) == len(providers) and all(answers)


_open: WeakSet[Telemetry] = WeakSet()


@atexit.register
def _close_all() -> None:
    for telemetry in list(_open):
        telemetry.close()


def configure_opentelemetry(
    *,
    traces: bool = True,
    metrics: bool = True,
    logs: bool = True,
    sample_ratio: float | None = None,
    service_name: str | None = None,
    scheduler: Scheduler | None = None,
    flush_s: float = FLUSH_S,
    seed: int | None = None,
    tracer_provider: Any = None,
    meter_provider: Any = None,
    logger_provider: Any = None,
) -> Telemetry:
    """Send what happens in the runs of this process to OpenTelemetry, from now on.

    Args:
        traces: Send spans. ``OTEL_TRACES_EXPORTER=none`` and its siblings switch off what isn't given a provider, and
            ``OTEL_SDK_DISABLED=true`` everything.
        metrics: Send the numbers of `CATALOGUE`.
        logs: Send the lines of Meridian's log.
        sample_ratio: Share of traces to keep, from 0.0 to 1.0; a message that comes with ``traceparent`` brings its decision.
            Left out, ``OTEL_TRACES_SAMPLER`` and ``OTEL_TRACES_SAMPLER_ARG`` say it, or else all are kept.
        service_name: Stands above ``OTEL_SERVICE_NAME``, where providers are made here.
        scheduler: Whose metrics, those of its last run included; without one, of all runs while they are under way.
        flush_s: So long `Telemetry.close` waits for what is still to be sent, also at the end of the process.
        seed: Makes the ids of spans repeatable, for tests.
        tracer_provider: A provider of your own, in place of OpenTelemetry's global one.
        meter_provider: The same for metrics.
        logger_provider: The same for logs.

    Returns:
        What closes it again. A second call leaves the first as it is; spans and lines go to the latest.

    Raises:
        MissingExtraError: the extra ``otel`` isn't installed.
        ConfigError: a variable of the environment asks for something that isn't there.
        ValueError: ``sample_ratio`` is outside 0 to 1.
    """
    for name in ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        load(name, "otel", "configure_opentelemetry()")
    from opentelemetry import _logs as otel_logs
    from opentelemetry import metrics as otel_metrics
    from opentelemetry import trace as otel_trace

    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Telemetry(flush_s)
    ratio = _ratio() if sample_ratio is None else sample_ratio
    config = TracingConfig(enabled=True, provider="opentelemetry", sample_rate=ratio, seed=seed)
    config.validate()
    wanted: dict[str, bool] = dict(zip(SIGNALS, (traces, metrics, logs), strict=True))
    given: dict[str, Any] = dict(
        zip(SIGNALS, (tracer_provider, meter_provider, logger_provider), strict=True)
    )
    already: dict[str, Any] = {
        "traces": _of_application(
            otel_trace.get_tracer_provider(), "opentelemetry.sdk.trace", "TracerProvider"
        ),
        "metrics": _of_application(
            otel_metrics.get_meter_provider(), "opentelemetry.sdk.metrics", "MeterProvider"
        ),
        "logs": _of_application(otel_logs.get_logger_provider(), "opentelemetry.sdk._logs", "LoggerProvider"),
    }
    made = Telemetry(flush_s)
    makers: dict[str, Callable[[str | None], tuple[Any, _Books]]] = {
        "traces": _tracer_provider,
        "metrics": _meter_provider,
        "logs": _logger_provider,
    }
    providers: dict[str, Any] = {}
    # All that can be wrong is looked at before anything is changed.
    exported = {
        signal: given[signal] is None and already[signal] is None and _is_exported(signal)
        for signal in SIGNALS
        if wanted[signal]
    }
    for signal, makes in exported.items():
        provider = given[signal] if given[signal] is not None else already[signal]
        if provider is None and makes:
            provider, made._books[signal] = makers[signal](service_name)
            made._providers.append(provider)
        if provider is not None:
            providers[signal] = provider
    made.signals = tuple(providers)
    if "traces" in providers:
        made._tracer = OpenTelemetryTracer(config, providers["traces"])
        use_tracer(made._tracer)
    if "metrics" in providers:
        made._instruments = _Instruments(providers["metrics"].get_meter(SCOPE), Reader(scheduler))
    if "logs" in providers:
        made._writer = _Writer(providers["logs"])
        get_logger().also = made._writer
    _open.add(made)
    return made


_of_ours: WeakSet[Any] = WeakSet()
"""Providers that were made here: after they are closed, they aren't the application's."""


def _of_application(provider: Any, module: str, name: str) -> Any:
    """Return OpenTelemetry's global provider if the application set it up, else ``None``."""
    real = isinstance(provider, getattr(import_module(module), name))
    return provider if real and provider not in _of_ours else None


def _ratio() -> float:
    said = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "always_on"
    name = said.removeprefix("parentbased_")
    if name not in _RATIOS:
        raise ConfigError(
            f"OTEL_TRACES_SAMPLER={said!r} isn't known here: use one of {', '.join(_RATIOS)}, or parentbased_ and one of these"
        )
    ratio = _RATIOS[name]
    if ratio is not None:
        return ratio
    argument = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1.0"
    try:
        ratio = float(argument)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise ConfigError(f"OTEL_TRACES_SAMPLER_ARG={argument!r} is no share: use a number from 0.0 to 1.0")
    return ratio


def _is_exported(signal: str) -> bool:
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    exporter = os.environ.get(variable, "").strip().lower() or "otlp"
    if exporter not in ("otlp", "none"):
        raise ConfigError(f"{variable}={exporter!r} isn't known here: use otlp or none")
    for name in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(name, "").strip().lower() or "http/protobuf"
        if exporter == "otlp" and protocol != "http/protobuf":
            raise ConfigError(f"{name}={protocol!r} isn't known here: use http/protobuf")
    return exporter == "otlp"


def _most(variable: str) -> int:
    try:
        most = int(os.environ.get(variable, "") or 2048)
    except ValueError:
        most = 0
    if most < 1:
        raise ConfigError(f"{variable} is no number of at least 1: it says how many may wait to be sent")
    return most


def _resource(service_name: str | None) -> Any:
    from opentelemetry.sdk.resources import Resource

    return Resource.create({} if service_name is None else {"service.name": service_name})


def _tracer_provider(service_name: str | None) -> tuple[Any, _Books]:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

    most = _most("OTEL_BSP_MAX_QUEUE_SIZE")
    processor, books = _bounded("traces", OTLPSpanExporter(), most, BatchSpanProcessor)
    # Which traces are kept is decided before there is a span.
    provider = TracerProvider(
        sampler=ParentBased(ALWAYS_ON), resource=_resource(service_name), shutdown_on_exit=False
    )
    provider.add_span_processor(processor)
    _set_global(trace.get_tracer_provider(), provider, trace.set_tracer_provider)
    return provider, books


def _meter_provider(service_name: str | None) -> tuple[Any, _Books]:
    from opentelemetry import metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider

    reader, books = _metric_reader(OTLPMetricExporter())
    provider = MeterProvider([reader], resource=_resource(service_name), shutdown_on_exit=False)
    _set_global(metrics.get_meter_provider(), provider, metrics.set_meter_provider)
    return provider, books


def _logger_provider(service_name: str | None) -> tuple[Any, _Books]:
    from opentelemetry import _logs
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    most = _most("OTEL_BLRP_MAX_QUEUE_SIZE")
    processor, books = _bounded("logs", OTLPLogExporter(), most, BatchLogRecordProcessor)
    provider = LoggerProvider(resource=_resource(service_name), shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    _set_global(_logs.get_logger_provider(), provider, _logs.set_logger_provider)
    return provider, books


def _set_global(before: Any, provider: Any, set_provider: Callable[[Any], None]) -> None:
    """Let other libraries' telemetry go the same way; OpenTelemetry allows that once in a process."""
    if before not in _of_ours:
        set_provider(provider)
    _of_ours.add(provider)
