"""Forms: an engine that does the work of a ready-made node itself comes to the same results as the node, whatever comes in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter, itemgetter
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meridian import Node, Scheduler, SchedulerConfig, graph, sink, source, via
from meridian.core.errors import EngineError
from meridian.core.message import CONTROL, DATA, ERROR, Message
from meridian.core.policies import Coalesce, ErrorPolicy, Latest
from meridian.engine.select import choose
from meridian.nodes import (
    Batch,
    CounterNode,
    FilterTransformer,
    Merger,
    NodeConfig,
    Router,
    SamplingNode,
    ThrottleNode,
)
from meridian.nodes.native import is_plain
from meridian.observability import logging
from meridian.testing import NodeTestHarness, simulate

Outcome = dict[str, Any]


def engines() -> list[str]:
    """The engines that can be had here."""
    try:
        return ["python"] if choose("rust").name != "rust" else ["python", "rust"]
    except EngineError:
        return ["python"]


ENGINES = engines()


@pytest.fixture(params=ENGINES)
def engine(request, monkeypatch) -> str:
    monkeypatch.setenv("MERIDIAN_ENGINE", request.param)
    return request.param


# ---- payloads out of the ordinary ----------------------------------------------------------------------------------


class Liar:
    """Fails when it is asked what it is."""

    @property  # type: ignore[misc]  # lying is what it is for
    def __class__(self) -> Any:
        raise OSError("no")


class Pretender:
    """Says that it is a str, or a dict."""

    def __init__(self, of: type) -> None:
        self.of = of

    @property  # type: ignore[misc]  # lying is what it is for
    def __class__(self) -> Any:
        return self.of

    def get(self, key: str) -> Any:
        return 2.5 if key == "a" else None

    def __hash__(self) -> int:
        return hash("a")

    def __eq__(self, other: object) -> bool:
        return other == "a"


class Word(str):
    __slots__ = ()


class Record:
    kind = "left"
    a = 1


class Broken:
    @property
    def kind(self) -> str:
        raise OSError("no")


class Defaulting(dict[str, Any]):
    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, "left" if key == "kind" else 1)


class Whole(int):
    pass


STRANGE: list[Any] = [
    None, "", 0, 0.0, False, (), [], {}, b"", "a", "b", "left", "right", "nowhere", 7, True, 1.5, [1], (1,), "11",
    {"a": 1}, {"a": 0.1, "b": True, "c": 3}, {"a": None}, {"a": "1"}, {"a": Whole(3)}, {"a": 10**400}, {"b": 2, "a": 10**400},
    {"a": float("inf")}, {"kind": "left"}, {"kind": "right"}, {"kind": "nowhere"}, {"kind": None}, {"kind": 5},
    {"kind": Word("left")}, {"kind": Record()}, {"x": 1}, Word("a"), Word("left"), Whole(4), Record(), Broken(), Liar(),
    Pretender(str), Pretender(dict), Defaulting(), Defaulting(kind="right"), object(), int, Exception("x"),
]  # fmt: skip


def items() -> st.SearchStrategy[list[tuple[str, int]]]:
    """What comes in, by kind and number of the payload: raw, in an envelope, as an ERROR, or as CONTROL."""
    raw = st.tuples(
        st.sampled_from(["raw"] * 6 + ["data", "data", "error", "control"]), st.integers(0, len(STRANGE) - 1)
    )
    runs = st.tuples(raw, st.integers(1, 9)).map(lambda each: [each[0]] * each[1])
    return st.lists(runs, max_size=12).map(lambda all_of_them: [each for run in all_of_them for each in run])


# ---- what a run comes to -------------------------------------------------------------------------------------------


def outcome(
    make: Callable[[], Node],
    feed: list[tuple[str, int]],
    *,
    capacity: int = 8,
    slice: int = 64,
    policy: Any = None,
    runs: int = 1,
    state: Callable[[Any], Any] = lambda node: None,
) -> list[Outcome]:
    """Run a node, several times if asked, on the engine that ``MERIDIAN_ENGINE`` names; tell all that can be seen of it."""
    made = make()
    told = []
    for _ in range(runs):
        given: dict[int, tuple[int, Any]] = {}

        def start(given: dict[int, tuple[int, Any]] = given) -> Iterator[Any]:
            for n, (kind, i) in enumerate(feed):
                if kind == "raw":
                    yield STRANGE[i]
                    continue
                message = Message(
                    {"data": DATA, "error": ERROR, "control": CONTROL}[kind], STRANGE[i], {"n": n}
                )
                given[id(message)] = n, message  # held, so that its id stays its own
                yield message

        got: dict[str, list[Any]] = {}
        ends = []
        for port in made.outputs:
            out = got[port.name] = []

            def keep(
                message: Message, out: list[Any] = out, given: dict[int, tuple[int, Any]] = given
            ) -> None:
                out.append(
                    (message.type, message.payload, given.get(id(message), (None,))[0], message.metadata)
                )

            ends.append(
                made[port.name] >> via(capacity=capacity, policy=policy) >> sink(keep, name=port.name)
            )
        config = SchedulerConfig(max_batch_per_node=slice)
        flow = source(start, name="start") >> via(capacity=capacity) >> made[made.inputs[0].name]
        report = simulate(graph("g", flow, *ends), config=config, shuffle=False).report
        told.append(
            {
                "lanes": {
                    (port, is_control): [
                        (kind, _seen(payload), n, metadata)
                        for kind, payload, n, metadata in out
                        if (kind is CONTROL) is is_control
                    ]
                    for port, out in got.items()
                    for is_control in (False, True)
                },
                "nodes": [(each.name, each.state, each.handled, each.errors, each.parked, each.unrouted) for each in report.nodes],
                "edges": [(each.id, each.accepted, each.delivered, each.depth, each.lost) for each in report.edges]
                if policy is None else [],
                "errors": [(each.node, each.phase, each.type) for each in report.errors],
                "reason": report.reason,
                "state": state(made),
            }
        )  # fmt: skip
    return told


def _seen(payload: Any) -> Any:
    """What to compare of a payload: the same object; or the parts of a list or a dict that a node made."""
    for i, each in enumerate(STRANGE):
        if each is payload:
            return i
    if type(payload) is list:
        return [_seen(each) for each in payload]
    if type(payload) is dict:
        return {key: repr(value) for key, value in payload.items() if key != "original_payload"}
    return type(payload).__name__


def dropped(node: Any) -> int:
    return node.dropped


EMITS, RAISES = (
    NodeConfig(error_policy=ErrorPolicy.EMIT_ERROR),
    NodeConfig(error_policy=ErrorPolicy.RAISE_EXCEPTION),
)
SIDES = ["left", "right"]

MADE: dict[str, tuple[Callable[[], Node], Callable[[Any], Any]]] = {
    "filter by a type": (lambda: FilterTransformer("n", types=str), lambda node: None),
    "filter by types": (lambda: FilterTransformer("n", types=(int, dict, Record), config=EMITS), lambda node: None),
    "filter by a dict": (lambda: FilterTransformer("n", {"a": 1, "b": 0}.get, config=EMITS), lambda node: None),
    "filter by a set": (lambda: FilterTransformer("n", {"a", 7}.__contains__), lambda node: None),
    "filter by an item": (lambda: FilterTransformer("n", itemgetter("a"), config=RAISES), lambda node: None),
    "filter by truth": (lambda: FilterTransformer("n", bool, pass_through_control=False), lambda node: None),
    "filter by a test of strings": (lambda: FilterTransformer("n", str.isdigit), lambda node: None),
    "route by type": (lambda: Router("n", by_type={bool: "left", int: "right", str: "left"}), dropped),
    "route by type, else": (
        lambda: Router("n", None, SIDES, by_type={dict: "left"}, default_port="right"), dropped,
    ),
    "route by field": (lambda: Router("n", output_ports=SIDES, by_field="kind"), dropped),
    "route by field, else": (
        lambda: Router("n", output_ports=SIDES, by_field="kind", default_port="right"), dropped,
    ),
    "route by an item": (lambda: Router("n", itemgetter("kind"), SIDES, default_port="left"), dropped),
    "route by an attribute": (lambda: Router("n", attrgetter("kind"), SIDES), dropped),
    "route by a dict": (lambda: Router("n", {"a": "left", 7: "right"}.get, SIDES), dropped),
    "merge": (lambda: Merger("n", ["input", "other"]), lambda node: None),
    "throttle": (lambda: ThrottleNode("n", 1e6), lambda node: node.has_pending()),
    "slow throttle": (lambda: ThrottleNode("n", 10, burst_size=3), lambda node: node.has_pending()),
    "count": (lambda: CounterNode("n", ["a", "b"]), lambda node: None),
    "count anew": (lambda: CounterNode("n", ["b", "a", "11"], reset_on_summary=True), lambda node: None),
    "sample": (lambda: SamplingNode("n", 0.5, seed=3), lambda node: None),
    "sample none": (lambda: SamplingNode("n", 0), lambda node: None),
    "batch": (lambda: Batch("n", 3), lambda node: None),
    "batch of one": (lambda: Batch("n", 1), lambda node: None),
    "batch in time": (lambda: Batch("n", 5, within_s=0.5), lambda node: None),
}  # fmt: skip


@pytest.mark.req("V1")
@pytest.mark.parametrize("name", MADE)
@settings(max_examples=40)
@given(
    feed=items(),
    capacity=st.sampled_from([1, 2, 8, 100]),
    slice=st.sampled_from([1, 3, 64]),
    policy=st.sampled_from([None, None, None, Latest(), Coalesce(lambda old, new: new)]),
)
@example(feed=[("raw", i) for i in range(len(STRANGE))], capacity=100, slice=64, policy=None)
@example(feed=[("data", i) for i in range(len(STRANGE))], capacity=100, slice=64, policy=None)
def test_both_engines_come_to_the_same(name, feed, capacity, slice, policy):
    make, state = MADE[name]
    if (
        "batch" in name
    ):  # it ends with a CONTROL message, which overtakes as much as there is in nobody's hand
        feed = [each for each in feed if each[0] != "control"]
    if policy is not None:
        capacity = 1000  # what a full edge does depends on who runs when
    told = []
    with pytest.MonkeyPatch.context() as patch:
        for asked in ENGINES:
            patch.setenv("MERIDIAN_ENGINE", asked)
            try:
                told.append(
                    outcome(make, feed, capacity=capacity, slice=slice, policy=policy, runs=2, state=state)
                )
            except Exception as error:
                told.append([{"raised": (type(error), str(error))}])
    assert told[0] == told[-1]


# ---- when it is used -----------------------------------------------------------------------------------------------


def calls_of(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note each call of the node's handler; its class is changed, as one that the node alone had would be used."""
    called: list[Any] = []
    handle = type(node)._handle_message

    def noted(self: Any, port: str, message: Message[Any]) -> Any:
        called.append(message.payload)
        return handle(self, port, message)

    monkeypatch.setattr(type(node), "_handle_message", noted)
    return called


def run_with(node: Node, feed: Any, port: str | None = None) -> list[Any]:
    got: list[Any] = []
    output = node.outputs[0].name if port is None else port
    simulate(
        graph(
            "g",
            source(feed, name="s") >> node[node.inputs[0].name],
            node[output] >> sink(got.append, name="t"),
        )
    )
    return got


@pytest.mark.parametrize("name", MADE)
def test_the_rust_engine_calls_no_node_for_usual_messages(name, engine, monkeypatch):
    node = MADE[name][0]()
    feed = {"kind": "left", "a": 1} if "field" in name or "item" in name else "a"
    if "attribute" in name:
        feed = Record()
    if name == "route by type, else":
        feed = {}
    called = calls_of(node, monkeypatch)
    run_with(node, [feed] * 3)
    assert len(called) == (0 if engine == "rust" else 3)


@pytest.mark.parametrize(
    "node",
    [
        type("Mine", (FilterTransformer,), {})("n", types=str),
        FilterTransformer("n", lambda x: True),
        Router("n", lambda x: "out", ["out"]),
    ],
    ids=["subclass", "python predicate", "python route"],
)
def test_a_subclass_and_functions_of_the_users_are_called(node, engine, monkeypatch):
    called = calls_of(node, monkeypatch)
    assert run_with(node, ["a", "b"]) == called == ["a", "b"]


def test_a_hook_that_a_node_alone_has_is_called(engine):
    node = FilterTransformer("n", types=str)
    harness = NodeTestHarness(node)
    assert run_with(node, ["a", 1]) == ["a"]
    assert [message.payload for message in harness.get_emitted_messages("output")] == ["a"]


def test_a_node_is_called_while_debug_events_are_written(engine, monkeypatch):
    node = FilterTransformer("n", types=str)
    called = calls_of(node, monkeypatch)
    with monkeypatch.context():
        kept = logging.get_logger().config
        logging.replace_config(logging.LogConfig(level="DEBUG", stream=kept.stream))
        run_with(node, ["a"])
        logging.replace_config(kept)
    assert called == ["a"]
    run_with(node, ["b"])
    assert called == (["a"] if engine == "rust" else ["a", "b"])


def test_a_message_out_of_the_ordinary_is_handled_by_the_node_and_those_around_it_are_not(
    engine, monkeypatch
):
    node = Router("n", output_ports=["left"], by_field="kind")
    called = calls_of(node, monkeypatch)
    left = {"kind": "left"}
    assert run_with(node, [left, left, {"kind": "elsewhere"}, left]) == [left] * 3
    assert node.dropped == 1
    assert len(called) == (1 if engine == "rust" else 4)


@pytest.mark.req("V4")
@pytest.mark.parametrize("capacity", [1, 2])
def test_a_full_output_makes_a_node_wait(engine, capacity):
    got: list[Any] = []
    node = Router("n", by_type={str: "words", int: "numbers"})
    feed = ["a", 1] * 50
    words, numbers = sink(got.append, name="w"), sink(got.append, name="i")
    scheduler = Scheduler()
    scheduler.register(
        graph(
            "g",
            source(feed) >> via(capacity=capacity) >> node,
            node["words"] >> via(capacity=capacity) >> words,
            node["numbers"] >> via(capacity=capacity) >> numbers,
        )
    )
    scheduler.run()
    assert [x for x in got if x == "a"] == ["a"] * 50
    assert [x for x in got if x == 1] == [1] * 50


def test_what_leads_nowhere_is_counted(engine):
    node = Router("n", by_type={str: "words", int: "numbers"})
    got: list[Any] = []
    report = simulate(
        graph("g", source(["a", 1, "b"]) >> node, node["numbers"] >> sink(got.append, name="t"))
    ).report
    assert got == [1]
    assert {each.name: each.unrouted for each in report.nodes}["n"] == 2


def test_an_output_that_is_declared_late_is_found(engine):
    node = Router("n", output_ports=["left", "else"], by_field="kind", default_port="else")
    got: list[Any] = []

    def items() -> Iterator[Any]:
        yield {"kind": "late"}
        yield {"kind": "late"}
        node.outputs.append(Node.with_ports("x", [], ["late"]).outputs[0])
        yield {"kind": "late"}

    config = SchedulerConfig(max_batch_per_node=1)
    flow = source(items) >> via(capacity=1) >> node, node["else"] >> sink(got.append, name="t")
    report = simulate(graph("g", *flow), config=config, shuffle=False).report
    assert len(got) + {each.name: each.unrouted for each in report.nodes}["n"] == 3
    assert len(got) < 3


def test_an_edge_with_a_schema_has_the_node_called(engine, monkeypatch):
    node = FilterTransformer("n", types=(str, int))
    called = calls_of(node, monkeypatch)
    got: list[int] = []

    def keep(x: int) -> None:
        got.append(x)

    report = simulate(graph("g", source([1, "a", 2]) >> node >> sink(keep))).report
    assert got == [1, 2]
    assert called == [1, "a", 2]
    assert [each.type for each in report.errors] == ["meridian.core.errors.PayloadError"]


def test_several_edges_of_an_output_all_get_it(engine):
    left: list[Any] = []
    right: list[Any] = []
    node = FilterTransformer("n", types=int)
    ends = [sink(left.append, name="l"), sink(right.append, name="r")]
    simulate(graph("g", source([1, "a", 2, 3]) >> node, *(node >> via(capacity=1) >> end for end in ends)))
    assert left == right == [1, 2, 3]


def test_a_throttle_keeps_its_rate_whoever_runs_it(engine):
    got: list[Any] = []
    throttle = ThrottleNode("t", 10, burst_size=2)
    simulation = simulate(graph("g", source(range(20)) >> throttle >> sink(got.append)))
    assert got == list(range(20))
    assert simulation.elapsed_s == pytest.approx(1.8, abs=0.001)


def test_what_a_batch_holds_at_a_stop_belongs_to_the_next_run_of_either_engine(monkeypatch):
    node = Batch("n", 4)
    got: list[Any] = []
    for asked, feed in zip(
        (ENGINES[-1], ENGINES[0]), (["a", "b"], ["c", Message(DATA, "d"), "e"]), strict=True
    ):
        monkeypatch.setenv("MERIDIAN_ENGINE", asked)
        monkeypatch.setattr(Batch, "on_drain", Node.on_drain)
        simulate(graph("g", source(feed, name="s") >> node, node >> sink(got.append, name="t")))
    assert got == [["a", "b", "c", "d"]]
    node.on_drain()


def test_a_seeded_sample_chooses_the_same_on_both_engines(monkeypatch):
    chosen = []
    for asked in ENGINES:
        monkeypatch.setenv("MERIDIAN_ENGINE", asked)
        chosen.append(run_with(SamplingNode("n", 0.3, seed=5), range(200)))
    assert chosen[0] == chosen[-1]
    assert 30 < len(chosen[0]) < 90


# ---- by type, by field ---------------------------------------------------------------------------------------------


def test_the_first_type_counts_that_a_payload_is_an_instance_of(engine):
    got: dict[str, list[Any]] = {"flags": [], "numbers": []}
    node = Router("n", by_type={bool: "flags", int: "numbers"})
    ends = [node[port] >> sink(got[port].append, name=port) for port in got]
    simulate(graph("g", source([1, True, 2, "x"]) >> node, *ends))
    assert got == {"flags": [True], "numbers": [1, 2]}
    assert node.dropped == 1
    assert [port.name for port in node.outputs] == ["flags", "numbers"]


def test_a_field_is_a_key_or_an_attribute(engine):
    assert (
        len(run_with(Router("n", output_ports=["left"], by_field="kind"), [{"kind": "left"}, Record(), {}]))
        == 2
    )


@pytest.mark.parametrize(
    ("made", "error", "text"),
    [
        (lambda: Router("r", bool, ["a"], by_field="x"), ValueError, "Router 'r': only one of routing_fn, by_type and by_field"),
        (lambda: Router("r", ["a"], by_type={int: "a"}), ValueError, "only one of"),
        (lambda: Router("r", by_type=5), TypeError, "by_type must be a mapping from types to outputs, got 5"),
        (lambda: Router("r", by_type=cast(Any, {"int": "a"})), TypeError, "by_type must be a mapping"),
        (lambda: Router("r", by_type=cast(Any, {int: 1})), TypeError, "by_type must be a mapping"),
        (lambda: Router("r", by_type={}), TypeError, "output_ports"),
        (lambda: Router("r", output_ports=["b"], by_type={int: "a"}), ValueError, r"by_type must be for one of \['b'\], got 'a'"),
        (lambda: Router("r", output_ports=["b"], by_field=1), TypeError, "by_field must be the name of a field, got 1"),
        (lambda: FilterTransformer("f", bool, types=int), ValueError, "predicate and types can't both be given"),
        (lambda: FilterTransformer("f", types="int"), TypeError, "types must be a type, or a tuple of types, got 'int'"),
        (lambda: FilterTransformer("f", types=()), TypeError, "types must be a type"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_meant_are_refused(made: Any, error, text):
    with pytest.raises(error, match=text):
        made()


@pytest.mark.parametrize(
    ("function", "plain"),
    [
        ({}.get, True), ({}.__getitem__, True), (set().__contains__, True), (frozenset().__contains__, True),
        (int.__instancecheck__, True), (str.isdigit, True), (bool, True), (itemgetter(1), True), (attrgetter("x"), True),
        ({}.pop, False), ({}.setdefault, False), ([].append, False), (str.upper, False), (lambda x: x, False),
        (Defaulting().get, False), (set().add, False), (print, False),
    ],
)  # fmt: skip
def test_plain_functions_are_no_python_and_change_nothing(function, plain):
    assert is_plain(function) is plain
