"""Five hundred canaries through every sink there is; none may come out, in any form.

Two hunts. In the first, canaries are what graphs handle, and every hook of them fails with one: nothing of it may be seen,
as payloads stay inside. In the second, somebody puts canaries into log lines, labels, spans and errors, with all exposure
there is: the rules alone have to find them. Each sink is shown a planted leak first, so that a hunter that finds nothing
is known to look.
"""

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meridian import (
    Message,
    Node,
    Port,
    PortDirection,
    PortSpec,
    Scheduler,
    coalesce,
    graph,
    sink,
    source,
    via,
)
from meridian import node as function_node
from meridian._tests.redaction.canaries import (
    SHAPES,
    Canary,
    Hunter,
    Survivor,
    corpus,
    encodings,
    failing,
    halves,
)
from meridian.core.errors import NodeError
from meridian.core.policies import ErrorPolicy
from meridian.core.scheduler import SchedulerConfig
from meridian.introspect import snapshot
from meridian.observability import ObservabilityConfig, configure_observability, get_logger, get_metrics
from meridian.observability.context import with_context
from meridian.observability.events import get_events
from meridian.observability.tracing import InMemoryTracer, OpenTelemetrySpan, get_tracer, start_span
from meridian.redaction import Exposed, Policy, Redactor, describe_error, install, redactor
from meridian.redaction.policy import EXPOSABLE

CANARIES = corpus()
HUNTER = Hunter(CANARIES)
ALL_EXPOSED = Policy("all", (), tuple(Exposed(what, "a hunt") for what in EXPOSABLE))
EVERY_SHAPE = list(SHAPES.values())


# --- the hunter itself


def test_the_corpus_has_five_hundred_different_canaries_of_all_kinds():
    assert len({canary.text for canary in CANARIES}) == 500
    assert len({canary.kind for canary in CANARIES}) >= 30
    assert corpus() == CANARIES


@pytest.mark.parametrize("place", range(3))
def test_the_hunter_finds_each_canary_in_each_encoding_wherever_it_stands(place: int):
    for canary in CANARIES[place::30]:
        for secret in canary.secrets:
            for encoding, needle in encodings(secret):
                seen = HUNTER.survivors(b"x" * place + needle + b"y")
                assert seen, (canary.kind, encoding)


def test_the_hunter_finds_base64_of_texts_around_a_canary():
    import base64

    for canary in CANARIES[:60]:
        for before in ("", "a", "ab", "abc"):
            data = base64.b64encode(f"{before}{canary.text} and so on".encode())
            assert canary.kind in {survivor.kind for survivor in HUNTER.survivors(data)}


def test_the_hunter_finds_nothing_where_nothing_is():
    assert HUNTER.survivors(Path(__file__).read_bytes()) == []
    assert HUNTER.survivors(b"") == []


# --- what is hunted in


class Sinks:
    """Everything that leaves the process, as bytes."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        configure_observability(
            ObservabilityConfig(
                log_level="DEBUG",
                log_stream=self.log,
                metrics_enabled=True,
                tracing_enabled=True,
                tracing_provider="inmemory",
                tracing_sample_rate=1.0,
            )
        )
        self.reports: list[str] = []
        self.snapshots: list[str] = []
        self.since = get_events().last

    def report(self, scheduler: Scheduler) -> None:
        report = scheduler.report()
        assert report is not None
        self.reports += [json.dumps(report.as_dict()), repr(report), repr(scheduler)]
        self.snapshots.append(snapshot(scheduler).as_json())

    def contents(self) -> dict[str, bytes]:
        metrics: Any = get_metrics()
        tracer = get_tracer()
        assert isinstance(tracer, InMemoryTracer)
        spans = [
            f"{span!r} {span.name} {span.trace_id} {span.attributes} {span.error_type}"
            for span in tracer.get_spans()
        ]
        keys = [*metrics.get_all_counters(), *metrics.get_all_gauges(), *metrics.get_all_histograms()]
        return {
            "log": self.log.getvalue().encode(),
            "metrics": metrics.render().encode(),
            "keys of metrics": "\n".join(keys).encode(),
            "spans": "\n".join(spans).encode(),
            "reports": "\n".join(self.reports).encode(),
            "snapshots": "\n".join(self.snapshots).encode(),
            "events": json.dumps([each.as_dict() for each in get_events().since(self.since).events]).encode(),
        }

    def survivors(self) -> dict[str, list[Survivor]]:
        return {name: seen[:3] for name, data in self.contents().items() if (seen := HUNTER.survivors(data))}


@pytest.fixture
def sinks() -> Iterator[Sinks]:
    yield Sinks()
    configure_observability(ObservabilityConfig())


@pytest.mark.req("X2")
def test_a_leak_planted_in_any_sink_is_found(sinks: Sinks):
    leaked = CANARIES[0].secrets[0]
    sinks.log.write(leaked)
    get_metrics().counter("things", {"a": "b"}).inc()
    metrics: Any = get_metrics()
    ((_, pairs), made) = metrics._counters.items()[0]
    metrics._counters._made[f"things_{leaked}", pairs] = made
    with start_span("x") as span:
        span.attributes["x"] = leaked
    sinks.reports.append(leaked)
    sinks.snapshots.append(leaked)
    # Names of metrics and events are asked for again when they are read, so a leak has no way in there.
    assert set(sinks.survivors()) == {"log", "spans", "reports", "snapshots"}
    assert HUNTER.survivors(leaked.encode())


# --- the first hunt: payloads


class Fails(Node):
    """Handles canaries, and fails with them in every hook."""

    def __init__(self, name: str, texts: list[str], hooks: tuple[str, ...]) -> None:
        super().__init__(
            name,
            [Port("in", PortDirection.INPUT, PortSpec("in", object))],
            [Port("out", PortDirection.OUTPUT, PortSpec("out", object))],
        )
        self.texts = iter(texts)
        self.hooks = hooks
        self.ticks = self.failures = 0

    def _fail(self, hook: str) -> None:
        if hook in self.hooks:
            self.failures += 1
            raise failing(next(self.texts))

    def on_start(self) -> None:
        self._fail("on_start")

    def on_message(self, port: str, msg: Message[Any]) -> None:
        self._fail("on_message")

    def on_tick(self) -> None:
        self.ticks += 1
        if self.ticks <= 3:
            self._fail("on_tick")

    def on_stop(self) -> None:
        self._fail("on_stop")


def payloads() -> list[object]:
    """Each canary in one shape after the other, and in two halves."""
    made: list[object] = []
    for number, canary in enumerate(CANARIES):
        made += [make(canary.text) for make in (EVERY_SHAPE[number % len(EVERY_SHAPE)], SHAPES["plain"])]
        made += halves(canary.text)
    return made


def run(sinks: Sinks, *graphs: Any, raises: type[Exception] | None = None) -> Scheduler:
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1, shutdown_timeout_s=0.2, idle_timeout_s=0.2))
    for each in graphs:
        scheduler.register(each)
    if raises is None:
        scheduler.run()
    else:
        with pytest.raises(raises) as caught:
            scheduler.run()
        error = caught.value
        sinks.reports += [str(error), repr(error), repr(describe_error(error))]
    sinks.report(scheduler)
    return scheduler


@pytest.mark.req("X2")
@pytest.mark.parametrize("policy", [ErrorPolicy.LOG_AND_CONTINUE, ErrorPolicy.EMIT_ERROR])
def test_nothing_of_a_payload_survives_a_graph_that_fails_with_each_message(sinks: Sinks, policy: Any):
    @function_node(on_error=policy)
    def fails(payload: object) -> object:
        raise failing(str(payload) if isinstance(payload, str) else repr(payload))

    seen: list[Any] = []
    items = payloads()
    scheduler = run(sinks, graph("g", source(items) >> fails >> sink(seen.append, name="end")))
    assert scheduler.report().errors_total == len(items)
    assert sinks.survivors() == {}


@pytest.mark.req("X2")
def test_nothing_survives_asynchronous_handlers_and_sources_that_fail(sinks: Sinks):
    @function_node
    async def later(payload: object) -> object:
        await asyncio.sleep(0)
        raise failing(repr(payload))

    def items() -> Iterator[object]:
        yield from payloads()[:400]
        raise failing(CANARIES[7].text)

    scheduler = run(sinks, graph("g", source(items(), name="s") >> later >> sink(print, name="end")))
    assert scheduler.report().errors_total >= 400
    assert sinks.survivors() == {}


@pytest.mark.req("X2")
@pytest.mark.parametrize("hook", ["on_start", "on_message", "on_tick", "on_stop"])
def test_nothing_survives_a_hook_that_fails(sinks: Sinks, hook: str):
    texts = [canary.text for canary in CANARIES] * 5
    fails = Fails("fails", texts, (hook,))
    run(sinks, graph("g", source(payloads()) >> fails))
    assert fails.failures >= 1
    assert sinks.survivors() == {}


@pytest.mark.req("X2")
def test_nothing_survives_an_error_that_ends_the_run(sinks: Sinks):
    for canary in CANARIES[::20]:

        @function_node(on_error=ErrorPolicy.RAISE_EXCEPTION)
        def fails(payload: object, text: str = canary.text) -> object:
            raise failing(text)

        run(sinks, graph("g", source([canary.text]) >> fails >> sink(print, name="end")), raises=NodeError)
    assert sinks.survivors() == {}


class Told:
    """An item that fails when it is asked where it wants to go."""

    def __init__(self, text: str) -> None:
        self.text = text

    def route_key(self) -> str:
        raise failing(self.text)

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise failing(self.text)

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.req("X2")
def test_nothing_survives_items_that_fail_when_they_are_asked(sinks: Sinks):
    @function_node
    def passes(payload: object) -> object:
        return payload

    @function_node
    def reads(payload: object) -> object:
        return {payload: payload.route_key()}  # type: ignore[attr-defined]

    items = [Told(canary.text) for canary in CANARIES]
    scheduler = run(
        sinks, graph("g", source(items, name="s") >> passes >> reads >> sink(lambda item: None, name="end"))
    )
    assert scheduler.report().errors_total == len(items)
    assert sinks.survivors() == {}


@pytest.mark.req("X2")
def test_nothing_survives_a_merge_that_fails_or_a_payload_that_is_refused(sinks: Sinks):
    def merge(old: object, new: object) -> object:
        raise failing(repr(new))

    made = graph(
        "g",
        source([], name="s") >> via(capacity=2, policy=coalesce(merge)) >> sink(lambda n: None, name="end"),
    )
    for payload in payloads()[:600]:
        made.edges[0].try_put(payload)

    def numbers(n: int) -> None:
        raise AssertionError

    other = graph("h", source(payloads()[:300], name="t") >> sink(numbers, name="numbers"))
    run(sinks, made, other)
    assert sinks.survivors() == {}


# --- the second hunt: texts


def shapes_of(canary: Canary) -> list[object]:
    return [make(canary.text) for make in EVERY_SHAPE]


@pytest.mark.req("N1", "X2")
def test_the_rules_find_each_canary_in_each_shape():
    one = Redactor(ALL_EXPOSED)
    shown = [json.dumps(one.data({"value": value})) for canary in CANARIES for value in shapes_of(canary)]
    assert HUNTER.survivors("\n".join(shown).encode()) == []
    assert len(shown) == 500 * len(SHAPES)
    assert HUNTER.survivors(repr(one.counts.read()).encode()) == []


@pytest.mark.req("N1", "X2")
def test_the_rules_find_each_canary_in_a_file_of_any_encoding():
    text = "\n".join(
        str(make(canary.text))
        for number, canary in enumerate(CANARIES)
        for make in (SHAPES["sentence"], EVERY_SHAPE[number % len(EVERY_SHAPE)])
    )
    for encoding in ("utf-8", "utf-16-le"):
        shown = redactor().document_bytes(text.replace("\0", "").encode(encoding))
        assert HUNTER.survivors(shown) == []


@pytest.mark.req("X1", "X2")
@pytest.mark.parametrize("as_json", [True, False])
def test_no_canary_survives_the_log(sinks: Sinks, as_json: bool):
    install(ALL_EXPOSED)
    config = get_logger().config
    config.json = as_json
    get_logger().reconfigure(config)
    for number, canary in enumerate(CANARIES):
        shapes = shapes_of(canary)
        get_logger().info("a.b", f"it said {canary.text}", value=shapes[number % len(shapes)])
        get_logger().warn_limited(canary.text, canary.text, "m", **{canary.text: 1})
        with with_context(trace_id=canary.text, tenant=canary.text):
            get_logger().error("a.b", "m", error=shapes[(number + 7) % len(shapes)])
    get_logger().flush_limited()
    assert get_logger().dropped == 0
    assert sinks.survivors() == {}


@pytest.mark.req("X1", "X2")
def test_no_canary_survives_labels_and_names_of_metrics(sinks: Sinks):
    for canary in CANARIES:
        get_metrics().counter("seen", {"who": canary.text, canary.text: "x"}).inc()
        get_metrics().gauge(f"of_{canary.text}").set(1)
        get_metrics().histogram("took", {"email": canary.text}).observe(1)
    assert sinks.survivors() == {}


@pytest.mark.req("X1", "X2")
def test_no_canary_survives_spans(sinks: Sinks):
    install(ALL_EXPOSED)
    for number, canary in enumerate(CANARIES):
        shapes = shapes_of(canary)
        with (
            with_context(trace_id=canary.text),
            start_span(canary.text, {"value": shapes[number % len(shapes)], canary.text: 1}) as span,
        ):
            span.set_attribute("later", shapes[(number + 5) % len(shapes)])
    assert sinks.survivors() == {}


@pytest.mark.req("N7", "X2")
def test_no_canary_in_the_name_of_a_node_survives_snapshots_events_and_reports(sinks: Sinks):
    for canary in CANARIES[::7]:

        def fails(payload: object) -> None:
            raise ValueError

        made = graph("g", source([1], name="s") >> sink(fails, name=canary.text))
        scheduler = Scheduler()
        scheduler.register(made)
        scheduler.run()
        report = scheduler.report()
        assert report is not None
        sinks.reports.append(json.dumps(report.as_dict()))
        sinks.snapshots.append(snapshot(scheduler).as_json())
    assert len(get_events().since(sinks.since).events) > 100
    assert sinks.survivors() == {}


class OtelSpan:
    """Keeps what an OpenTelemetry span would send."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def set_attributes(self, attributes: dict[str, object]) -> None:
        self.sent += attributes.items()


@pytest.mark.req("X1", "X2")
def test_no_canary_reaches_opentelemetry():
    install(ALL_EXPOSED)
    otel: Any = OtelSpan()
    span = OpenTelemetrySpan("name", "trace", "span", otel)
    for number, canary in enumerate(CANARIES):
        shapes = shapes_of(canary)
        span.set_attribute("value", shapes[number % len(shapes)])
        span.set_attribute(canary.text, shapes[(number + 3) % len(shapes)])
    assert HUNTER.survivors("\n".join(map(str, otel.sent)).encode()) == []


@pytest.mark.req("X2")
def test_no_canary_survives_the_text_of_an_error_that_is_shown(sinks: Sinks):
    install(ALL_EXPOSED)

    @function_node
    def fails(payload: str) -> object:
        raise failing(payload)

    texts = [str(make(canary.text)) for canary in CANARIES for make in EVERY_SHAPE[:4]]
    run(sinks, graph("g", source(texts) >> fails >> sink(print, name="end")))
    sinks.reports += [repr(describe_error(failing(text))) for text in texts]
    assert sinks.survivors() == {}


# --- the command line


TARGET = """
from meridian import Node, graph, node, sink, source
from meridian._tests.redaction.canaries import SHAPES, corpus, failing
from meridian.core.policies import ErrorPolicy

CANARIES = corpus()

@node
def fails(payload: object) -> object:
    raise failing(repr(payload))

@node(on_error=ErrorPolicy.RAISE_EXCEPTION)
def ends(payload: object) -> object:
    raise failing(repr(payload))

def items():
    return [make(canary.text) for canary in CANARIES for make in list(SHAPES.values())[:3]]

def build():
    return graph("g", source(items(), name="s") >> fails >> sink(print, name="end"))

def build_ending():
    return graph("g", source(items(), name="s") >> ends >> sink(print, name="end"))

def build_failing():
    raise failing(" ".join(canary.text for canary in CANARIES))

def build_named():
    names = [f"{canary.text}" for canary in CANARIES[::25]]
    return graph("g", source(items()[:40], name="s") >> [sink(lambda payload: None, name=name) for name in names])
"""


@pytest.mark.req("X2")
@pytest.mark.parametrize("name", ["build", "build_ending", "build_failing", "build_named"])
@pytest.mark.parametrize("options", [("--log-level", "DEBUG", "--json"), ()], ids=["json", "tables"])
def test_no_canary_survives_the_command_line(tmp_path: Path, name: str, options: tuple[str, ...]):
    pytest.importorskip("typer")
    (tmp_path / "target.py").write_text(TARGET)
    ran = subprocess.run(
        [sys.executable, "-m", "meridian", "run", f"target:{name}", *options],
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode in (0, 1, 2)
    assert len(ran.stdout + ran.stderr) > 100
    assert HUNTER.survivors(ran.stdout + b"\n" + ran.stderr) == []
