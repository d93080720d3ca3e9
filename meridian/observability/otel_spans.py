"""Spans that go to OpenTelemetry, through whatever tracer provider the application has set up there.

Imports of ``opentelemetry`` happen when a tracer is made, so that nobody else needs the package.

A trace has the same id here and there: OpenTelemetry is told the message's. Which messages are traced is decided here, by
the trace's id; what the provider's own sampler leaves out is left out as a whole.
"""

from __future__ import annotations

import threading
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from meridian.observability import traceparent
from meridian.observability.logging import get_logger
from meridian.observability.traceparent import NO_SPAN, Parent
from meridian.observability.tracing import (
    NoopSpan,
    Sampler,
    Span,
    TracingConfig,
    get_span,
    get_trace_id,
    shown_attributes,
)
from meridian.redaction import describe_error, redactor, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

ATTRIBUTES: Mapping[str, str] = {
    "node": "meridian.node",
    "port": "meridian.port",
    "trace_id": "meridian.trace_id",
    "iteration": "meridian.iteration",
}
"""Names of a span's attributes: as they are here, and as OpenTelemetry gets them. Others keep their name."""

SCOPE = "meridian"
"""Name of the instrumentation scope."""


class OpenTelemetrySpan(Span):
    """A span that passes everything on to an OpenTelemetry span.

    Attributes:
        otel_span: That span.
    """

    __slots__ = ("_token", "otel_span")

    def __init__(
        self,
        name: str,
        trace_id: str,
        span_id: str,
        otel_span: Any,
        attributes: Mapping[str, object] | None = None,
        *,
        parent_id: str | None = None,
    ) -> None:
        super().__init__(name, trace_id, span_id, parent_id=parent_id)
        self.otel_span = otel_span
        self._token: Any = None
        if attributes:
            self._note(attributes)

    @property
    def traceparent(self) -> str:
        """The header of what comes from this span, or ``""`` if OpenTelemetry leaves it out."""
        context = self.otel_span.get_span_context()
        if not context.trace_flags & 1:
            return ""
        return traceparent.write(f"{context.trace_id:032x}", self.span_id)

    def set_attribute(self, key: str, value: object) -> None:
        """Note something about the operation, here and there; ignored once it is finished."""
        if self.end_time is None:
            self._note({key: value})

    def _note(self, attributes: Mapping[str, object]) -> None:
        shown: dict[str, object] = redactor().data(dict(attributes))  # type: ignore[assignment]  # a dict stays one
        self.attributes.update(shown)
        self.otel_span.set_attributes(_otel_attributes(shown))

    def set_error(self, error_type: str) -> None:
        """Mark the operation as failed, with the class of the exception and never its text."""
        if self.end_time is None:
            super().set_error(error_type)
            self.otel_span.set_status(_api().trace.StatusCode.ERROR, redactor().text(error_type))

    def record_error(self, error: BaseException) -> None:
        """Mark the operation as failed, and add an event ``exception``, as far as the redaction policy shows why."""
        if self.end_time is None:
            told = describe_error(error)
            self.set_error(told.type)
            shown = redactor().text  # classes and functions have the names that users gave them
            said = {
                "exception.type": shown(told.type),
                "exception.message": told.message,
                "meridian.where": shown(told.where),
            }
            self.otel_span.add_event("exception", said)

    def add_link(self, header: str) -> None:
        """Note another span that led to this one, here and there; ignored once it is finished."""
        parent = traceparent.read(header)
        if self.end_time is None and parent is not None and parent.span_id != NO_SPAN:
            super().add_link(header)
            self.otel_span.add_link(_span_context(parent))

    def finish(self) -> None:
        """Close both spans; only the first call counts."""
        if self.end_time is None:
            super().finish()
            self.otel_span.end()

    def activate(self) -> None:
        """Make it OpenTelemetry's current span, so that a library's own spans become its children."""
        api = _api()
        self._token = api.context.attach(api.trace.set_span_in_context(self.otel_span))

    def deactivate(self) -> None:
        """Undo `activate`."""
        _api().context.detach(self._token)


class _Api(NamedTuple):
    """What is asked of OpenTelemetry for each span, so that nothing is looked for by name then."""

    trace: Any
    context: Any
    nowhere: Any
    """The context that is within no span."""

    sampled: Any
    """The flags of a span that is kept."""


@cache
def _api() -> _Api:
    trace, context = import_module("opentelemetry.trace"), import_module("opentelemetry.context")
    return _Api(trace, context, context.Context(), trace.TraceFlags(1))


def _otel_attributes(shown: Mapping[str, object]) -> dict[str, object]:
    return {ATTRIBUTES.get(name, name): _otel_value(value) for name, value in shown.items()}


_PLAIN = (str, bool, int, float)


def _otel_value(value: object) -> object:
    # OpenTelemetry refuses anything else, and a repr could show a payload.
    return value if isinstance(value, _PLAIN) else type_name(value)


def _span_context(parent: Parent) -> Any:
    api = _api()
    return api.trace.SpanContext(
        int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=api.sampled
    )


class GivenIds:
    """Gives a span without a parent the trace id of its message; all else is up to the generator before.

    Args:
        rest: The generator before.
        random: Where ids of spans come from instead, if they are to be repeatable.
    """

    def __init__(self, rest: Any, random: Random | None = None) -> None:
        self._rest = rest
        self._random = random
        self._given = threading.local()

    def give(self, trace_id: int) -> None:
        """Use this id for the next trace that this thread begins."""
        self._given.id = trace_id

    def generate_trace_id(self) -> int:
        """Return the id that was given, or a new one."""
        given: int | None = getattr(self._given, "id", None)
        self._given.id = None
        return self._rest.generate_trace_id() if given is None else given

    def generate_span_id(self) -> int:
        """Return a new id, which is never 0."""
        return self._rest.generate_span_id() if self._random is None else self._random.randrange(1, 1 << 64)

    def is_trace_id_random(self) -> bool:
        """Return whether the last 56 bits of its ids are random: those of a UUID are, others may come from anywhere."""
        return False


class OpenTelemetryTracer:
    """Makes spans with the tracer provider that the application has set up in OpenTelemetry.

    Without the OpenTelemetry SDK it is disabled: it hands out spans that do nothing and has said so in the event
    ``tracing.fallback``.

    Args:
        config: Which traces to keep.
        tracer_provider: Whose spans; left out, OpenTelemetry's global one.
    """

    def __init__(self, config: TracingConfig | None = None, tracer_provider: Any = None) -> None:
        self.config = config or TracingConfig(enabled=True, provider="opentelemetry")
        self._sampler = Sampler(self.config)
        self._tracer: Any = None
        self._ids: GivenIds | None = None
        if not self.config.enabled:
            return
        try:
            # The SDK too: the API alone is a set of spans that go nowhere.
            import_module("opentelemetry.sdk.trace")
            self._api = _api()
        except ImportError:
            get_logger().warn(
                "tracing.fallback",
                "OpenTelemetry is not installed, nothing is traced: pip install 'meridian-runtime[otel]'",
                provider=self.config.provider,
            )
            return
        self._tracer = self._api.trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        # A tracer is one's own, so this changes nothing for the application's other spans.
        if hasattr(self._tracer, "id_generator"):
            random = None
            if self.config.seed is not None:
                from random import Random  # imported here: only tests want ids again

                random = Random(self.config.seed)
            self._ids = self._tracer.id_generator = GivenIds(self._tracer.id_generator, random)

    def start_span(self, name: str, attributes: Mapping[str, object] | None = None) -> Span:
        """Return a span that has begun, or one that does nothing if tracing is off or leaves it out."""
        if self._tracer is None:
            return NoopSpan(name)
        around, trace_id = get_span(), get_trace_id()
        if trace_id is not None:
            trace_id = redactor().text(trace_id)
        if not self._sampler.keeps(around, trace_id):
            return NoopSpan(name)
        same = around is not None and around.trace_id == trace_id
        if not same and trace_id is not None:
            self._give(trace_id)
        # A message's span may lie within one of the scheduler's; that is no reason to tie two traces together.
        otel_span = self._tracer.start_span(
            redactor().text(name), context=None if same or around is None else self._api.nowhere
        )
        ids = otel_span.get_span_context()
        made = OpenTelemetrySpan(
            name,
            trace_id or f"{ids.trace_id:032x}",
            f"{ids.span_id:016x}",
            otel_span,
            attributes,
            parent_id=around.span_id if around is not None and same else None,
        )
        otel_span.set_attribute("meridian.trace_id", made.trace_id)
        return made

    def limit(self) -> int:
        """Return which traces it keeps: those whose `place_of` is below."""
        return 0 if self._tracer is None else self._sampler.limit

    def around(self) -> tuple[str, str] | None:
        """Return trace id and ``traceparent`` of the span whose block this is, if need be of the application's own."""
        ids = self._api.trace.get_current_span().get_span_context()
        if not ids.is_valid:
            return None
        trace_id, span = f"{ids.trace_id:032x}", get_span()
        known = span is not None and span.span_id == f"{ids.span_id:016x}"
        header = traceparent.write(trace_id, f"{ids.span_id:016x}") if ids.trace_flags & 1 else ""
        return (span.trace_id if known and span is not None else traceparent.as_uuid(trace_id)), header

    def begin_trace(self, trace_id: str, name: str, attributes: Mapping[str, object]) -> str:
        """Make the span that is above all others of a trace, and return the ``traceparent`` of what it produced.

        If the application is within a span of its own, the new one has a link to that.
        """
        ambient = self._api.trace.get_current_span().get_span_context()
        shown = shown_attributes(attributes, trace_id)
        trace_id = redactor().text(trace_id)
        self._give(trace_id)
        otel_span = self._tracer.start_span(
            name,
            context=self._api.nowhere,
            kind=self._api.trace.SpanKind.PRODUCER,
            attributes=_otel_attributes(shown),
            links=[self._api.trace.Link(ambient)] if ambient.is_valid else [],
        )
        ids = otel_span.get_span_context()
        made = OpenTelemetrySpan(name, trace_id, f"{ids.span_id:016x}", otel_span)
        made.finish()
        return made.traceparent

    def continue_trace(
        self,
        trace_id: str,
        parent: Parent,
        links: Sequence[str],
        name: str,
        attributes: Mapping[str, object],
    ) -> Span:
        """Return a span that has begun, below ``parent``."""
        above = self._api.nowhere
        shown = shown_attributes(attributes, trace_id)
        trace_id = redactor().text(trace_id)
        if parent.span_id == NO_SPAN:
            self._give(trace_id)
        else:
            stand_in = self._api.trace.NonRecordingSpan(_span_context(parent))
            above = self._api.trace.set_span_in_context(stand_in, above)
        otel_span = self._tracer.start_span(
            name, context=above, kind=self._api.trace.SpanKind.CONSUMER, attributes=_otel_attributes(shown)
        )
        made = OpenTelemetrySpan(
            name,
            trace_id,
            f"{otel_span.get_span_context().span_id:016x}",
            otel_span,
            parent_id=parent.span_id,
        )
        made.attributes = shown
        for header in links:
            made.add_link(header)
        return made

    def is_enabled(self) -> bool:
        """Return whether spans reach OpenTelemetry."""
        return self._tracer is not None

    def _give(self, trace_id: str) -> None:
        if self._ids is not None:
            self._ids.give(int(traceparent.as_hex(trace_id), 16))
