"""Spans: what happened within what, for how long.

Tracing is off until configured. `is_tracing_enabled` is one read of a module variable, so whoever sits on a hot path
asks it first and makes nothing while it says no.

A span's trace id is the one of the current context (see `meridian.observability.context`), so that log lines, messages
and spans of one trace carry the same id; its parent is the span whose block it was started in.

Sampling is decided before anything is made, per trace, from its id alone: spans with the same trace id are kept or left
out together, also across hops and processes, and a span within another shares its fate.

A run makes its spans through `Tracer.begin_trace` and `Tracer.continue_trace`: there the parent comes with the message,
as the header ``traceparent``, and not from the block around.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from meridian.observability import traceparent
from meridian.observability.context import (
    bump_generation,
    generate_trace_id,
    get_trace_id,
    is_handling,
    pop_trace_id,
    push_trace_id,
    restore,
    set_trace_id,
)
from meridian.redaction import class_name, redactor

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from contextvars import Token
    from random import Random

    from meridian.observability.otel_spans import OpenTelemetrySpan, OpenTelemetryTracer
    from meridian.observability.traceparent import Parent
    from meridian.redaction import Redactor

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
        sample_rate: Share of traces to keep, from 0.0 (none) to 1.0 (all). Left out, all are kept. The id of a trace
            decides, so that every process decides alike.
        max_spans: How many spans stay in memory; older ones are shed and counted. At least 1.
        seed: Makes repeatable which spans without a trace id are kept, and the ids of OpenTelemetry spans.
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
        links: ``traceparent`` of other spans that led to this one too, such as those of messages merged into one.
    """

    __slots__ = (
        "_started_s",
        "attributes",
        "end_time",
        "error_type",
        "links",
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
        self.links: list[str] = []
        self._started_s = time.perf_counter()

    @property
    def traceparent(self) -> str:
        """The header of what comes from this span, or ``""`` if it is left out."""
        return traceparent.write(traceparent.as_hex(self.trace_id), self.span_id)

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

    def record_error(self, error: BaseException) -> None:
        """Note that the operation failed, as far as the redaction policy shows why; ignored once it is finished."""
        self.set_error(class_name(type(error)))

    def add_link(self, header: str) -> None:
        """Note another span that led to this one, by its ``traceparent``; ignored once it is finished."""
        if self.end_time is None:
            self.links.append(header)

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


class _Known:
    """What a policy shows of the attributes that spans of messages have; they come again with every message."""

    def __init__(self, policy: Redactor) -> None:
        self.policy = policy
        self._places: dict[tuple[tuple[str, object], ...], dict[str, object]] = {}
        # A rule may be for the key, whatever the id: then each is looked at as any other attribute.
        example = {"trace_id": generate_trace_id()}
        self._as_text = policy.data(dict(example)) == example

    def shown(self, attributes: Mapping[str, object], trace_id: str) -> dict[str, object]:
        key = tuple(attributes.items())
        place = self._places.get(key)
        if place is None:
            if len(self._places) >= MOST_PLACES:
                self._places.clear()
            place = self._places[key] = cast("dict[str, object]", self.policy.data(dict(attributes)))
        if self._as_text:
            return {**place, "trace_id": self.policy.text(trace_id)}
        return {**place, **cast("dict[str, object]", self.policy.data({"trace_id": trace_id}))}


MOST_PLACES = 65_536
"""So many inputs of nodes are remembered."""

_known: _Known | None = None


def shown_attributes(attributes: Mapping[str, object], trace_id: str) -> dict[str, object]:
    """Return the attributes of a message's span as the policy shows them, with its trace id."""
    global _known
    policy, known = redactor(), _known
    if known is None or known.policy is not policy:
        known = _known = _Known(policy)
    return known.shown(attributes, trace_id)


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
        self.links = []
        self.start_time = self._started_s = 0.0

    @property
    def traceparent(self) -> str:
        """Always empty."""
        return ""

    @property
    def duration_s(self) -> float:
        """Always 0.0."""
        return 0.0

    def set_attribute(self, key: str, value: object) -> None:
        """Do nothing."""

    def set_error(self, error_type: str) -> None:
        """Do nothing."""

    def add_link(self, header: str) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


_UNSAMPLED = NoopSpan("unsampled")
"""Stands for every span that was left out; as the current span it makes those within it be left out too."""

_current_span: ContextVar[Span | None] = ContextVar("meridian_span", default=None)


def get_span() -> Span | None:
    """Return the span whose block this is, or ``None``."""
    return _current_span.get()


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

    def limit(self) -> int:
        """Return which traces it keeps: those whose `place_of` is below."""
        ...

    def around(self) -> tuple[str, str] | None:
        """Return trace id and ``traceparent`` of the span whose block this is; the latter is empty if it is left out."""
        ...

    def begin_trace(self, trace_id: str, name: str, attributes: Mapping[str, object]) -> str:
        """Begin a trace that is kept; return the ``traceparent`` of its first message, or ``""`` to leave it out.

        The trace id is one more attribute of the span, if there is one.
        """
        ...

    def continue_trace(
        self,
        trace_id: str,
        parent: Parent,
        links: Sequence[str],
        name: str,
        attributes: Mapping[str, object],
    ) -> Span:
        """Return a span that has begun, below ``parent``; the caller finishes it. The trace id is one more attribute."""
        ...

    def is_enabled(self) -> bool:
        """Return whether its spans are kept."""
        ...


PLACES = 1 << 56
"""An id's last 56 bits say whether its trace is kept: in a UUID, and in ids of OpenTelemetry, all of them are random."""


class Sampler:
    """Decides which traces are kept.

    Attributes:
        limit: Ids whose place is below are kept; see `place_of`.
    """

    __slots__ = ("_random", "limit")

    def __init__(self, config: TracingConfig) -> None:
        config.validate()
        rate = 1.0 if isinstance(config.sample_rate, NotStated) else config.sample_rate
        self.limit = round(rate * PLACES)
        self._random: Random | None = None
        if 0 < self.limit < PLACES:
            from random import Random  # imported here: only real sampling needs it

            self._random = Random(config.seed)

    def keeps(self, around: Span | None, trace_id: str | None) -> bool:
        """Return whether a span of that trace, started within ``around``, is kept."""
        if self._random is None:
            return self.limit > 0
        if trace_id is None:
            # Within a span that is kept there is a trace id, so what is around it was left out; so is a message in hand.
            return around is None and not is_handling() and self._random.getrandbits(56) < self.limit
        if around is not None and around.trace_id == trace_id:
            return True
        # All of a trace or nothing of it: its id decides, wherever and whenever the next hop happens.
        return place_of(trace_id) < self.limit


def place_of(trace_id: str) -> int:
    """Return a number of 56 bits that is the same wherever this trace is met."""
    return int(traceparent.as_hex(trace_id)[-14:], 16)


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

    def limit(self) -> int:
        """Return 0."""
        return 0

    def around(self) -> tuple[str, str] | None:
        """Return ``None``."""
        return None

    def begin_trace(self, trace_id: str, name: str, attributes: Mapping[str, object]) -> str:
        """Return ``""``."""
        return ""

    def continue_trace(
        self,
        trace_id: str,
        parent: Parent,
        links: Sequence[str],
        name: str,
        attributes: Mapping[str, object],
    ) -> Span:
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
        self._sampler = Sampler(self.config)
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
        return self._kept(
            Span(name, trace_id or generate_trace_id(), _new_span_id(), attributes, parent_id=parent_id)
        )

    def limit(self) -> int:
        """Return which traces it keeps: those whose `place_of` is below."""
        return self._sampler.limit if self._enabled else 0

    def around(self) -> tuple[str, str] | None:
        """Return trace id and ``traceparent`` of the span whose block this is; the latter is empty if it is left out."""
        span = _current_span.get()
        return None if span is None else (span.trace_id, span.traceparent)

    def begin_trace(self, trace_id: str, name: str, attributes: Mapping[str, object]) -> str:
        """Return the ``traceparent`` of a trace's first message. There is no span for that: v1's spans are all there are."""
        return traceparent.write(traceparent.as_hex(trace_id), traceparent.NO_SPAN)

    def continue_trace(
        self,
        trace_id: str,
        parent: Parent,
        links: Sequence[str],
        name: str,
        attributes: Mapping[str, object],
    ) -> Span:
        """Return a span that has begun and is kept."""
        parent_id = None if parent.span_id == traceparent.NO_SPAN else parent.span_id
        span = Span(name, redactor().text(trace_id), _new_span_id(), parent_id=parent_id)
        span.attributes = shown_attributes(attributes, trace_id)
        span.links += links
        return self._kept(span)

    def _kept(self, span: Span) -> Span:
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
    config.validate()
    tracer: Tracer
    if config.provider == "inmemory":
        tracer = InMemoryTracer(config)
    elif config.provider == "opentelemetry":
        from meridian.observability.otel_spans import (
            OpenTelemetryTracer,  # imported here: few processes need it
        )

        tracer = OpenTelemetryTracer(config)
    else:
        if config.provider != "noop":
            _warn(
                "tracing.provider_unknown",
                "Unknown tracing provider, nothing is traced: use noop, inmemory or opentelemetry.",
                provider=config.provider,
            )
        tracer = NoopTracer(config)
    use_tracer(tracer)


def use_tracer(tracer: Tracer) -> None:
    """Make ``tracer`` the current one."""
    global _tracer, _enabled
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
    try:
        with Within(span):
            yield span
    finally:
        span.finish()


class Within:
    """A block within a span: there it is the current one, and an exception that leaves the block is noted in it.

    The span goes on: it may have further blocks, and whoever began it finishes it.
    """

    __slots__ = ("_span", "_span_token", "_trace_token")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        span = self._span
        self._span_token: Token[Span | None] = _current_span.set(span)
        self._trace_token = push_trace_id(span.trace_id) if span.trace_id else None
        span.activate()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None and not isinstance(error, GeneratorExit):
            self._span.record_error(error)
        self._span.deactivate()
        if self._trace_token is not None:
            pop_trace_id(self._trace_token)
        restore(_current_span, self._span_token)


if not TYPE_CHECKING:  # a type checker reads the import above

    def __getattr__(name: str) -> Any:
        # v1's names of what only few processes need.
        if name in ("OpenTelemetrySpan", "OpenTelemetryTracer"):
            return getattr(import_module("meridian.observability.otel_spans"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
