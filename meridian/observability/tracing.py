"""Spans: what happened within what, for how long.

Tracing is off until configured. `is_tracing_enabled` is one read of a module variable, so whoever sits on a hot path
asks it first and makes nothing while it says no.

A span's trace id is the one of the current context (see `meridian.observability.context`), so that log lines, messages
and spans of one trace carry the same id; its parent is the span whose block it was started in.

Sampling is decided before anything is made, per trace: spans with the same trace id are kept or left out together,
also across hops, and a span within another shares its fate.
"""

from __future__ import annotations

import os
import threading
import time
from binascii import crc32
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from meridian.observability.context import (
    bump_generation,
    generate_trace_id,
    get_trace_id,
    pop_trace_id,
    push_trace_id,
    restore,
    set_trace_id,
)
from meridian.redaction import class_name, redactor, type_name

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from random import Random

__all__ = [
    "InMemoryTracer",
    "NoopSpan",
    "NoopTracer",
    "OpenTelemetrySpan",
    "OpenTelemetryTracer",
    "Span",
    "Tracer",
    "TracingConfig",
    "configure_tracing",
    "generate_trace_id",
    "get_span_id",
    "get_trace_id",
    "get_tracer",
    "is_tracing_enabled",
    "set_trace_id",
    "start_span",
]

MAX_SPANS = 10_000
"""So many spans an `InMemoryTracer` keeps unless told otherwise."""


class NotStated(float):
    """A sample rate that nobody stated: equals 0.0, which is v1's default, but keeps everything.

    In v1 the rate had no effect in memory, so code that switches tracing on without a rate expects spans.
    """


NOT_STATED = NotStated(0.0)


@dataclass
class TracingConfig:
    """How to trace.

    Attributes:
        enabled: ``False`` makes every tracer hand out spans that do nothing.
        provider: ``"noop"``, ``"inmemory"`` or ``"opentelemetry"``.
        sample_rate: Share of traces to keep, from 0.0 (none) to 1.0 (all). Left out, all are kept.
        max_spans: How many spans stay in memory; older ones are shed and counted. At least 1.
        seed: Makes the choice of samples repeatable.
    """

    enabled: bool = False
    provider: str = "noop"
    sample_rate: float = NOT_STATED
    max_spans: int = MAX_SPANS
    seed: int | None = None

    def validate(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: rate outside 0 to 1, or no room for a span.
        """
        if not 0.0 <= self.sample_rate <= 1.0:
            raise ValueError(f"sample_rate is {self.sample_rate}: it must be from 0.0 to 1.0")
        if self.max_spans < 1:
            raise ValueError(f"max_spans is {self.max_spans}: it must be at least 1")


# --- spans ---------------------------------------------------------------------------------------------------------


class Span:
    """One operation.

    Attributes:
        name: What is done, such as ``node.on_message``.
        trace_id: What it belongs to.
        span_id: 16 hexadecimal digits, unique.
        parent_id: ``span_id`` of the span around it, or ``None``.
        attributes: What `set_attribute` was told, as far as the redaction policy shows it.
        start_time: Epoch seconds.
        end_time: Epoch seconds, or ``None`` while it is open. From a monotonic clock, so never before the start.
        error_type: Class of the exception that ended its block, or ``None``; never the exception's text.
    """

    __slots__ = (
        "_started_s",
        "attributes",
        "end_time",
        "error_type",
        "name",
        "parent_id",
        "span_id",
        "start_time",
        "trace_id",
    )

    def __init__(
        self,
        name: str,
        trace_id: str,
        span_id: str,
        attributes: Mapping[str, object] | None = None,
        *,
        parent_id: str | None = None,
    ) -> None:
        self.name = redactor().text(name)
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.attributes: dict[str, object] = _shown(attributes) if attributes else {}
        self.start_time = time.time()
        self.end_time: float | None = None
        self.error_type: str | None = None
        self._started_s = time.perf_counter()

    @property
    def duration_s(self) -> float:
        """Seconds from start to end, or until now while it is open."""
        if self.end_time is None:
            return time.perf_counter() - self._started_s
        return self.end_time - self.start_time

    def set_attribute(self, key: str, value: object) -> None:
        """Note something about the operation; ignored once it is finished."""
        if self.end_time is None:
            self.attributes.update(_shown({key: value}))

    def set_error(self, error_type: str) -> None:
        """Note that the operation failed, with the class of the exception; ignored once it is finished."""
        if self.end_time is None:
            self.error_type = error_type

    def finish(self) -> None:
        """Close the span; only the first call counts."""
        if self.end_time is None:
            self.end_time = self.start_time + (time.perf_counter() - self._started_s)

    def is_finished(self) -> bool:
        """Return whether it is closed."""
        return self.end_time is not None

    def activate(self) -> None:
        """Make it the current span of the backend, where the backend has such a thing."""

    def deactivate(self) -> None:
        """Undo `activate`."""

    def __repr__(self) -> str:
        # Attributes may hold anything, so they aren't shown.
        return f"{type(self).__name__}({self.name!r}, trace_id={self.trace_id!r}, span_id={self.span_id!r})"


def _shown(attributes: Mapping[str, object]) -> dict[str, object]:
    return cast("dict[str, object]", redactor().data(dict(attributes)))


def _shown_trace_id() -> str | None:
    # Here, before traces are compared and sampled, so that a redacted id still joins what belongs together.
    trace_id = get_trace_id()
    return None if trace_id is None else redactor().text(trace_id)


class NoopSpan(Span):
    """A span that notes nothing and is never finished; both ids are empty."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        # No clock reads: this is what runs when tracing is off.
        self.name = name
        self.trace_id = self.span_id = ""
        self.parent_id = self.end_time = self.error_type = None
        self.attributes = {}
        self.start_time = self._started_s = 0.0

    @property
    def duration_s(self) -> float:
        """Always 0.0."""
        return 0.0

    def set_attribute(self, key: str, value: object) -> None:
        """Do nothing."""

    def set_error(self, error_type: str) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


_UNSAMPLED = NoopSpan("unsampled")
"""Stands for every span that was left out; as the current span it makes those within it be left out too."""

_current_span: ContextVar[Span | None] = ContextVar("meridian_span", default=None)


def get_span_id() -> str | None:
    """Return the id of the span whose block this is, or ``None``."""
    span = _current_span.get()
    return (span.span_id or None) if span is not None else None


# --- tracers -------------------------------------------------------------------------------------------------------


class Tracer(Protocol):
    """Whoever makes spans."""

    def start_span(self, name: str, attributes: Mapping[str, object] | None = None) -> Span:
        """Return a span that has begun; the caller finishes it."""
        ...

    def is_enabled(self) -> bool:
        """Return whether its spans are kept."""
        ...


class _Sampler:
    """Decides which traces are kept."""

    __slots__ = ("_random", "_rate", "_salt")

    def __init__(self, config: TracingConfig) -> None:
        config.validate()
        self._rate = 1.0 if isinstance(config.sample_rate, NotStated) else config.sample_rate
        self._random: Random | None = None
        self._salt = 0
        if 0.0 < self._rate < 1.0:
            from random import Random  # imported here: only real sampling needs it

            self._random = Random(config.seed)
            self._salt = self._random.getrandbits(32)

    def keeps(self, around: Span | None, trace_id: str | None) -> bool:
        """Return whether a span of that trace, started within ``around``, is kept."""
        if self._random is None:
            return self._rate > 0.0
        if trace_id is None:
            # Within a span that is kept there is a trace id, so what is around it was left out.
            return around is None and self._random.random() < self._rate
        if around is not None and around.trace_id == trace_id:
            return True
        # All of a trace or nothing of it: its id decides, wherever and whenever the next hop happens.
        return crc32(trace_id.encode("utf-8", "surrogatepass"), self._salt) < self._rate * 2**32


def _parent_id(around: Span | None, trace_id: str | None) -> str | None:
    # A message's span may lie within one of the scheduler's; that is no reason to tie two traces together.
    return around.span_id if around is not None and around.trace_id == trace_id else None


class NoopTracer:
    """Hands out spans that do nothing; the default."""

    def __init__(self, config: TracingConfig | None = None) -> None:
        self.config = config or TracingConfig()

    def start_span(self, name: str, attributes: Mapping[str, object] | None = None) -> Span:
        """Return a `NoopSpan`."""
        return NoopSpan(name)

    def is_enabled(self) -> bool:
        """Return ``False``."""
        return False


class InMemoryTracer:
    """Keeps the latest spans, open ones included, for tests and for a look at a running process."""

    def __init__(self, config: TracingConfig | None = None) -> None:
        self.config = config or TracingConfig(enabled=True, provider="inmemory")
        self._enabled = self.config.enabled
        self._sampler = _Sampler(self.config)
        self._spans: deque[Span] = deque(maxlen=self.config.max_spans)
        self._shed = 0
        self._lock = threading.Lock()

    @property
    def spans(self) -> list[Span]:
        """The kept spans, in the order they began; a copy."""
        return self.get_spans()

    @property
    def shed(self) -> int:
        """How many spans had to make room for later ones."""
        return self._shed

    def start_span(self, name: str, attributes: Mapping[str, object] | None = None) -> Span:
        """Return a span that has begun and is kept, or one that does nothing if tracing is off or leaves it out."""
        if not self._enabled:
            return NoopSpan(name)
        around, trace_id = _current_span.get(), _shown_trace_id()
        if not self._sampler.keeps(around, trace_id):
            return _UNSAMPLED
        parent_id = _parent_id(around, trace_id)
        span = Span(name, trace_id or generate_trace_id(), _new_span_id(), attributes, parent_id=parent_id)
        with self._lock:
            self._shed += len(self._spans) == self._spans.maxlen
            self._spans.append(span)
        return span

    def is_enabled(self) -> bool:
        """Return whether spans are kept."""
        return self._enabled

    def get_spans(self) -> list[Span]:
        """Return the kept spans, in the order they began; a copy."""
        with self._lock:
            return list(self._spans)

    def clear_spans(self) -> None:
        """Forget all spans, and how many were shed."""
        with self._lock:
            self._spans.clear()
            self._shed = 0


def _new_span_id() -> str:
    return os.urandom(8).hex()


# --- OpenTelemetry -------------------------------------------------------------------------------------------------
# Only the parts used here are described, so that neither types nor tests need the package.


class OtelSpanContext(Protocol):
    """Ids of an OpenTelemetry span."""

    trace_id: int
    span_id: int


class OtelSpan(Protocol):
    """An OpenTelemetry span."""

    def set_attribute(self, key: str, value: object) -> None: ...
    def set_status(self, status: object, description: str | None = None) -> None: ...
    def end(self) -> None: ...
    def get_span_context(self) -> OtelSpanContext: ...


class _OtelTracer(Protocol):
    def start_span(self, name: str) -> OtelSpan: ...


class _OtelTrace(Protocol):
    """The module ``opentelemetry.trace``."""

    def get_tracer(self, instrumenting_module_name: str) -> _OtelTracer: ...
    def set_span_in_context(self, span: OtelSpan) -> object: ...


class _OtelContext(Protocol):
    """The module ``opentelemetry.context``."""

    def attach(self, context: object) -> object: ...
    def detach(self, token: object) -> None: ...


class OpenTelemetrySpan(Span):
    """A span that passes everything on to an OpenTelemetry span."""

    __slots__ = ("_token", "otel_span")

    def __init__(
        self,
        name: str,
        trace_id: str,
        span_id: str,
        otel_span: OtelSpan,
        attributes: Mapping[str, object] | None = None,
        *,
        parent_id: str | None = None,
    ) -> None:
        super().__init__(name, trace_id, span_id, parent_id=parent_id)
        self.otel_span = otel_span
        self._token: object = None
        for key, value in (attributes or {}).items():
            self.set_attribute(key, value)

    def set_attribute(self, key: str, value: object) -> None:
        """Note something about the operation, here and there; ignored once it is finished."""
        if self.end_time is None:
            for name, shown in _shown({key: value}).items():
                self.attributes[name] = shown
                self.otel_span.set_attribute(name, _otel_value(shown))

    def set_error(self, error_type: str) -> None:
        """Mark the operation as failed, with the class of the exception and never its text."""
        if self.end_time is None:
            super().set_error(error_type)
            status = import_module("opentelemetry.trace").StatusCode.ERROR
            self.otel_span.set_status(status, error_type)

    def finish(self) -> None:
        """Close both spans; only the first call counts."""
        if self.end_time is None:
            super().finish()
            self.otel_span.end()

    def activate(self) -> None:
        """Make it OpenTelemetry's current span, so that a library's own spans become its children."""
        trace = cast(_OtelTrace, import_module("opentelemetry.trace"))
        context = cast(_OtelContext, import_module("opentelemetry.context"))
        self._token = context.attach(trace.set_span_in_context(self.otel_span))

    def deactivate(self) -> None:
        """Undo `activate`."""
        cast(_OtelContext, import_module("opentelemetry.context")).detach(self._token)


def _otel_value(value: object) -> object:
    # OpenTelemetry refuses anything else, and a repr could show a payload.
    return value if isinstance(value, str | bool | int | float) else type_name(value)


class OpenTelemetryTracer:
    """Makes spans with whatever tracer provider the application has set up in OpenTelemetry.

    Without the OpenTelemetry SDK it is disabled: it hands out spans that do nothing and has said so in the event
    ``tracing.fallback``.
    """

    def __init__(self, config: TracingConfig | None = None) -> None:
        self.config = config or TracingConfig(enabled=True, provider="opentelemetry")
        self._sampler = _Sampler(self.config)
        self._tracer: _OtelTracer | None = None
        if self.config.enabled:
            try:
                # The SDK too: the API alone is a set of spans that go nowhere.
                import_module("opentelemetry.sdk.trace")
                trace = cast(_OtelTrace, import_module("opentelemetry.trace"))
            except ImportError:
                _warn(
                    "tracing.fallback",
                    "OpenTelemetry is not installed, nothing is traced: pip install 'meridian-runtime[otel]'",
                    provider=self.config.provider,
                )
            else:
                self._tracer = trace.get_tracer("meridian")

    def start_span(self, name: str, attributes: Mapping[str, object] | None = None) -> Span:
        """Return a span that has begun, or one that does nothing if tracing is off or leaves it out."""
        if self._tracer is None:
            return NoopSpan(name)
        around, trace_id = _current_span.get(), _shown_trace_id()
        if not self._sampler.keeps(around, trace_id):
            return _UNSAMPLED
        otel_span = self._tracer.start_span(redactor().text(name))
        ids = otel_span.get_span_context()
        parent_id = _parent_id(around, trace_id)
        # A message's trace id stays the name of its trace on our side; the attribute lets one find the other.
        trace_id = trace_id or f"{ids.trace_id:032x}"
        span = OpenTelemetrySpan(
            name, trace_id, f"{ids.span_id:016x}", otel_span, attributes, parent_id=parent_id
        )
        otel_span.set_attribute("meridian.trace_id", trace_id)
        return span

    def is_enabled(self) -> bool:
        """Return whether spans reach OpenTelemetry."""
        return self._tracer is not None


# --- the current tracer --------------------------------------------------------------------------------------------

_tracer: Tracer = NoopTracer()
_enabled = False


def get_tracer() -> Tracer:
    """Return the current tracer."""
    return _tracer


def is_tracing_enabled() -> bool:
    """Return whether spans are kept; one read of a variable."""
    return _enabled


def configure_tracing(config: TracingConfig) -> None:
    """Replace the current tracer by a new one.

    An unknown provider traces nothing and says so in the event ``tracing.provider_unknown``.

    Raises:
        ValueError: a number in ``config`` is out of range; nothing was changed.
    """
    global _tracer, _enabled
    config.validate()
    tracer: Tracer
    if config.provider == "inmemory":
        tracer = InMemoryTracer(config)
    elif config.provider == "opentelemetry":
        tracer = OpenTelemetryTracer(config)
    else:
        if config.provider != "noop":
            _warn(
                "tracing.provider_unknown",
                "Unknown tracing provider, nothing is traced: use noop, inmemory or opentelemetry.",
                provider=config.provider,
            )
        tracer = NoopTracer(config)
    _tracer, _enabled = tracer, tracer.is_enabled()
    bump_generation()


def _warn(event: str, message: str, **fields: object) -> None:
    from meridian.observability.logging import get_logger

    get_logger().warn(event, message, **fields)


@contextmanager
def start_span(name: str, attributes: Mapping[str, object] | None = None) -> Generator[Span, None, None]:
    """Start a span of the current tracer for a block, and finish it at the end, also when the block raises.

    In the block, `get_trace_id` and `get_span_id` are the span's; both are restored afterwards. An exception leaves its
    class in the span, never its text. ::

        with start_span("node.on_message", {"node": name}) as span:
            span.set_attribute("port", port)
    """
    span = _tracer.start_span(name, attributes)
    if not _enabled:
        yield span
        return
    span_token = _current_span.set(span)
    trace_token = push_trace_id(span.trace_id) if span.trace_id else None
    span.activate()
    try:
        yield span
    except BaseException as error:
        span.set_error(class_name(type(error)))
        raise
    finally:
        span.finish()
        span.deactivate()
        if trace_token is not None:
            pop_trace_id(trace_token)
        restore(_current_span, span_token)
