"""What is seldom asked of the core: unusual schemas, misused operators, refusals, and which engine is taken."""

from __future__ import annotations

import array
import asyncio
import collections
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, Optional, Protocol, TypedDict, TypeVar, runtime_checkable

import pytest

from meridian import (
    Edge,
    Inlet,
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    PortSpec,
    Scheduler,
    Subgraph,
    To,
    graph,
    latest,
    node,
    sink,
    source,
    via,
)
from meridian.core import edge as edge_module
from meridian.core.errors import ClosedError
from meridian.core.function import FnNode, NodeFunction, SourceNode
from meridian.core.message import Scope, current_scope
from meridian.core.policies import Coalesce, PutResult
from meridian.core.schema import SchemaError, compatible, compile_schema, guaranteed
from meridian.core.wiring import Flow
from meridian.engine.sizes import payload_bytes

pytestmark = pytest.mark.req("V1")

Anything = TypeVar("Anything")
Number = TypeVar("Number", int, float)
Text = TypeVar("Text", bound=str)
UserId = typing.NewType("UserId", int)


class Point(TypedDict):
    x: int


class Silent(Protocol):
    def speak(self) -> str: ...


@runtime_checkable
class Loud(Protocol):
    def speak(self) -> str: ...


class Dog:
    def speak(self) -> str:
        return "woof"


# ---- schemas ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "fits", "refused"),
    [
        (Number, [1, 1.5], ["1"]),
        (Text, ["a"], [1]),
        (UserId, [7], ["7"]),
        (Loud, [Dog()], [1]),
        (type(None), [None], [0]),
        ((int, None), [1, None], ["1"]),
        ([int, str], [1, "a"], [1.5]),
        (Literal[1, "a"], [1, "a"], [True, 1.0, "b"]),
        (type[int], [int, str], [1]),
        (Annotated[int, "metres"], [1], ["1"]),
        (Callable[[int], int], [len], [1]),
        (Iterator[int], [iter([1]), iter("a")], [[1]]),
        (list[int], [[], [1, 2]], [[1, "2"], (1,)]),
        (list[Any], [[1, "a"]], [(1,)]),
        (set[str], [{"a"}], [{1}, ["a"]]),
        (Sequence[int], [[1], (2,)], [{1}]),
        (dict[Any, Any], [{1: "a"}], [[1]]),
        (dict[str, Any], [{"a": 1, "b": None}], [{1: 1}]),
        (dict[Any, int], [{"a": 1, 2: 2}], [{"a": "b"}]),
        (Mapping[str, int], [{"a": 1}], [{"a": "b"}, {1: 1}, [("a", 1)]]),
        (collections.Counter[str], [collections.Counter("ab")], [{"a": 1}]),
        (tuple[int, ...], [(), (1, 2)], [(1, "2"), [1]]),
        (tuple[int, Any], [(1, "a"), (1, None)], [(1,), ("a", 1)]),
        (Point, [{"x": 1}], [{}, {"x": "1"}, {"x": 1, "y": 2}, 1]),
    ],
)
def test_a_schema_lets_pass_what_its_annotation_says(schema: Any, fits: list[Any], refused: list[Any]):
    check = compile_schema(schema)
    assert [check.passes(value) for value in fits] == [True] * len(fits)
    assert [check.passes(value) for value in refused] == [False] * len(refused)


@pytest.mark.parametrize("schema", [None, Any, object, Anything, (int, Any), int | Any])
def test_a_schema_that_says_nothing_needs_no_check(schema: Any):
    assert compile_schema(schema) is None


@pytest.mark.parametrize(
    ("schema", "by_type"),
    [(int, True), (int | str, True), (list, True), (list[Any], True), (list[int], False), (Loud, False)],
)
def test_a_check_knows_whether_the_class_of_a_value_decides(schema: Any, by_type: bool):
    assert compile_schema(schema).by_type is by_type


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("int", "schema 'int' is a string"),
        ((), "an empty tuple is no schema"),
        (Silent, "protocol Silent can't be checked: decorate it with typing.runtime_checkable"),
        (3, "3 can't be used as a schema: use a type"),
        (typing.TypeGuard[int], r"typing.TypeGuard\[int\] can't be used as a schema"),
        ({}, r"\{\} can't be used as a schema"),
    ],
)
def test_what_is_no_schema_is_refused_with_the_reason(schema: Any, why: str):
    with pytest.raises(SchemaError, match=why):
        compile_schema(schema)


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [
        (int, None, True),
        (None, int, True),
        (int, str, False),
        (bool, int, True),
        (int, (str, Any), True),
        (int, (str, object), True),
        (int | str, int, False),
        (int | str, (int, str), True),
        (Annotated[int, "metres"], int, True),
        (Annotated[int, "metres"], str, False),
        (Point, dict, True),
        (Point, list, False),
        (Literal[1], str, True),
        (int, Literal["a"], True),
        (int | Any, str, False),
        ((Any,), str, True),
        (list[int], list[str], False),
        (list[int], list, True),
        (list[bool], Sequence[int], True),
        (dict[str, int], list[int], False),
        (tuple[int, ...], tuple[str, ...], False),
        (tuple[int, ...], tuple[int, ...], True),
        (tuple[bool, ...], tuple[int, ...], True),
        (int, Silent, True),
        ((None, int), (int, None), True),
    ],
)
def test_two_ends_are_compatible_unless_they_are_known_not_to_be(one: Any, other: Any, answer: bool):
    assert compatible(one, other) is answer


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [
        (int, int, True),
        (list[int], list[int], True),
        (int, None, True),
        (int, Any, True),
        (None, int, False),
        (Any, int, False),
        (object, int, False),
        (bool, int, True),
        (int, bool, False),
        (int | str, (str, int, float), True),
        (int | str, int, False),
        (Point, Point, True),
        (Point, dict, False),
        (dict, Point, False),
    ],
)
def test_only_what_is_certain_to_pass_is_guaranteed(one: Any, other: Any, answer: bool):
    assert guaranteed(one, other) is answer


# ---- function nodes --------------------------------------------------------------------------------------------------


def by_hand(function: Any) -> tuple[FnNode, list[tuple[str, Any]]]:
    made = function.node()
    sent: list[tuple[str, Any]] = []
    made.emit = lambda port, msg: sent.append((port, msg.payload))
    return made, sent


def test_only_functions_become_nodes():
    with pytest.raises(TypeError, match=r"node\(\) decorates functions, got int"):
        NodeFunction(3)


@pytest.mark.parametrize("concurrency", [0, -1, 2])
def test_a_plain_function_works_on_one_message_at_a_time(concurrency: int):
    with pytest.raises(ValueError, match=f"node 'lambda': concurrency={concurrency} must be 1"):
        node(concurrency=concurrency)(lambda x: x)


def test_an_asynchronous_generator_works_on_one_message_at_a_time():
    async def each(x: int):
        yield x

    with pytest.raises(ValueError, match="node 'each': concurrency=2 must be 1"):
        node(concurrency=2)(each)


def test_a_function_that_needs_a_keyword_is_refused():
    def scale(x: int, *, factor: int) -> int:
        return x * factor

    with pytest.raises(TypeError, match="'scale' has to take exactly one item"):
        node(scale)
    assert node(name="twice")(partial(scale, factor=2))(4) == 8


def test_a_source_function_takes_no_arguments():
    with pytest.raises(TypeError, match="'numbers' has to take no arguments"):

        @source
        def numbers(start: int) -> Iterator[int]:
            yield start


class Show:
    def __call__(self, x: int) -> Optional[str]:  # noqa: UP045 - the older spelling has an origin of its own
        return str(x) if x else None


@pytest.mark.parametrize("fn", [Show(), partial(Show())])
def test_an_object_that_can_be_called_is_read_by_the_annotations_of_its_call(fn: Any):
    made = node(fn)
    assert (made.inputs[0].spec.schema, made.outputs[0].spec.schema, made.trusted) == (int, str, False)


def test_none_is_not_sent_on():
    made, sent = by_hand(node(Show()))
    for x in (1, 0, 2):
        made.on_message("input", Message(MessageType.DATA, x))
    assert sent == [("output", "1"), ("output", "2")]


def test_a_function_without_outputs_sends_nothing():
    made, sent = by_hand(sink(lambda x: x))
    made.on_message("input", Message(MessageType.DATA, 1))
    assert sent == []


def test_a_named_result_goes_to_its_output_and_a_bare_one_to_the_first():
    made, sent = by_hand(node(outputs=["even", "odd"])(lambda x: To("odd", x) if x % 2 else x))
    for x in (1, 2):
        made.on_message("input", Message(MessageType.DATA, x))
    assert sent == [("odd", 1), ("even", 2)]


def test_control_passes_a_function_of_payloads_untouched():
    made, sent = by_hand(node(outputs=["a", "b"])(lambda x: 1 / 0))
    made.on_message("input", Message(MessageType.CONTROL, "stop"))
    assert sent == [("a", "stop"), ("b", "stop")]


@pytest.mark.parametrize("items", [3, lambda: 3])
def test_a_source_that_yields_nothing_to_iterate_over_says_so_when_it_is_opened(items: Any):
    with pytest.raises(
        TypeError, match="source 's' needs an iterable or a function that returns one, got int"
    ):
        SourceNode("s", items).open()


@pytest.mark.parametrize("items", [3, None])
def test_a_source_of_nothing_to_iterate_over_is_refused_where_it_is_made(items: Any):
    with pytest.raises(TypeError, match=r"source\(\) takes an iterable or a function that returns one, got "):
        source(items)


def test_an_error_about_a_port_says_that_another_node_has_the_same_name():
    wired = source([1]) >> Node.with_ports("x", ["in"], ["out"])
    with pytest.raises(
        KeyError, match=r"node 'x' has no output 'out'.*; two nodes have this name: rename one"
    ):
        graph("g", wired >> Node.with_ports("x", ["in"], []))


def test_registering_a_wiring_expression_says_how_to_make_a_graph_of_it():
    with pytest.raises(
        TypeError, match=r"got Flow: make one of a wiring expression with graph\(name, \.\.\.\)"
    ):
        Scheduler().register(source([1]) >> sink(print))  # type: ignore[arg-type]


# ---- inlets ----------------------------------------------------------------------------------------------------------


class Narrow:
    """A feed that has room for one item each time somebody waited for it."""

    def __init__(self) -> None:
        self.took: list[Any] = []
        self.waited: list[Any] = []
        self.closed = 0
        self._room = 0

    def put(self, item: Any) -> bool:
        if not self._room:
            return False
        self._room -= 1
        self.took.append(item)
        return True

    push = put

    async def room(self, item: Any) -> None:
        self.waited.append(item)
        self._room += 1

    def close(self) -> None:
        self.closed += 1


def test_an_inlet_without_a_run_takes_nothing():
    inlet = Inlet("in")
    assert (inlet.try_put(1), inlet.push(1), inlet.closed) == (False, False, False)


def test_an_inlet_closed_before_its_run_refuses_what_comes_later():
    inlet = Inlet("in")
    inlet.close()
    assert inlet.closed
    with pytest.raises(ClosedError, match="inlet 'in' is closed: nothing more can be put on it"):
        inlet.try_put(1)


def test_an_inlet_whose_run_has_ended_refuses_what_comes_later():
    inlet = Inlet("in")
    inlet.attach(Narrow())
    inlet.detach()
    with pytest.raises(ClosedError, match="inlet 'in' belongs to a run that has ended"):
        inlet.push(1)


def test_a_put_waits_for_room_and_then_is_sent_once():
    inlet, feed = Inlet("in"), Narrow()
    inlet.attach(feed)
    assert not inlet.try_put(0)
    asyncio.run(inlet.put(1))
    inlet.close()
    assert (feed.waited, feed.took, feed.closed) == ([1], [1], 1)


def test_a_put_that_waits_for_the_run_goes_on_when_it_begins():
    async def main() -> list[Any]:
        inlet, feed = Inlet("in"), Narrow()
        put = inlet.put(1)
        assert put.send(None) is inlet._waiting[0]
        inlet.attach(feed)
        with pytest.raises(StopIteration):
            put.send(None)
        return feed.took

    assert asyncio.run(main()) == [1]


def test_a_cancelled_put_is_forgotten():
    async def main() -> None:
        inlet = Inlet("in")
        put = inlet.put(1)
        put.send(None)
        with pytest.raises(asyncio.CancelledError):
            put.throw(asyncio.CancelledError())
        assert inlet._waiting == []

    asyncio.run(main())


def test_a_run_may_begin_while_a_put_is_being_cancelled():
    async def main() -> None:
        inlet, feed = Inlet("in"), Narrow()
        put = inlet.put(1)
        put.send(None).cancel()
        inlet.attach(feed)
        with pytest.raises(asyncio.CancelledError):
            put.send(None)
        assert feed.took == []

    asyncio.run(main())


# ---- wiring ----------------------------------------------------------------------------------------------------------


@node
def double(x: int) -> int:
    return 2 * x


@node
def halve(x: int) -> int:
    return x // 2


def test_a_port_is_named_by_text():
    first: Any = 0
    with pytest.raises(TypeError, match=r"name a port, such as \['output'\]; got int"):
        double.__getitem__(first)


def test_one_edge_has_one_set_of_options():
    with pytest.raises(TypeError, match=r"two via\(...\) in a row"):
        double >> via(capacity=1) >> via(capacity=2)


def test_the_right_side_of_an_arrow_may_not_be_open():
    with pytest.raises(TypeError, match=r"the right side of >> ends in via\(...\)"):
        double >> (halve >> via(capacity=1))


def test_an_expression_without_links_is_not_a_right_side():
    with pytest.raises(TypeError, match=r"the right side of >> ends in via\(...\)"):
        double >> Flow.of(halve)


def test_brackets_around_the_right_side_are_refused():
    with pytest.raises(TypeError, match="wire from left to right"):
        double >> (halve >> sink(print))


def test_a_plain_function_has_to_be_decorated_first():
    with pytest.raises(
        TypeError, match="'len' is a plain function: decorate it with @node or wrap it in sink"
    ):
        double >> len
    with pytest.raises(TypeError, match="'a function' is a plain function"):
        double >> partial(len)


@pytest.mark.parametrize("what", [3, "text", b"bytes", [double, 3]])
def test_other_things_cannot_be_wired(what: Any):
    with pytest.raises(TypeError, match="can't be wired: use nodes"):
        what >> double


@pytest.mark.parametrize("what", [lambda: [via() >> double], lambda: [halve >> double], lambda: [via()]])
def test_a_list_has_nodes_only_and_the_error_says_how_edges_that_differ_are_wired(what: Any):
    with pytest.raises(TypeError, match=r"a list has nodes only.* a >> via\(\.\.\.\) >> b, a >> c"):
        source(range(3)) >> what()


def test_a_list_fans_out_and_options_hold_for_each_edge():
    made = graph("g", [source(range(3), name="a"), source(range(3), name="b")] >> via(capacity=7) >> double)
    assert [(edge.id, edge.capacity) for edge in made.edges] == [
        ("a:output->double:input", 7),
        ("b:output->double:input", 7),
    ]


# ---- graphs ----------------------------------------------------------------------------------------------------------


def test_a_graph_refuses_an_expression_that_ends_in_options():
    with pytest.raises(TypeError, match=r"a wiring expression ends in via\(...\): put a node behind it"):
        graph("g", double >> via(capacity=1))


def test_a_node_added_under_another_name_is_wired_under_that_name():
    made, numbers = Subgraph("g"), source(range(3), name="numbers")
    made.add_node(Node.with_ports("other", ["input"], []))
    made.add_node(numbers, "alias")
    made.add_flow(numbers >> double)
    assert made.node_names() == ["other", "alias", "double"]
    assert [edge.id for edge in made.edges] == ["alias:output->double:input"]


def test_nothing_is_wired_to_a_node_without_ports_there():
    with pytest.raises(TypeError, match="node 's' has no input, so nothing can be wired there"):
        graph("g", double >> source(range(3), name="s"))


# ---- edges -----------------------------------------------------------------------------------------------------------


def an_edge(**options: Any) -> Edge[Any]:
    return Edge("a", Port("out", PortDirection.OUTPUT), "b", Port("in", PortDirection.INPUT), **options)


def test_what_an_edge_is_may_change_before_anything_was_put_on_it():
    edge = an_edge()
    edge.capacity, edge.spec, edge.default_policy = 1, PortSpec("in", int), latest()
    assert not edge.has_ring()
    assert [edge.try_put(1), edge.try_put(2)] == [PutResult.OK, PutResult.REPLACED]
    with pytest.raises(TypeError, match="refused <str>"):
        edge.try_put("3")


def test_what_an_edge_is_may_change_while_it_holds_items():
    edge = an_edge(spec=PortSpec("in", int), capacity=2)
    edge.try_put(1)
    edge.capacity, edge.spec, edge.default_policy = 1, None, "drop"
    assert [edge.try_put("2"), edge.depth(), edge.try_get(), edge.try_get()] == [
        PutResult.DROPPED,
        1,
        1,
        None,
    ]


def test_an_item_larger_than_the_whole_edge_is_refused():
    edge = an_edge(max_bytes=3)
    with pytest.raises(ValueError, match="edge a:out->b:in: one item is larger than the edge may ever hold"):
        edge.try_put(b"1234")
    assert edge.try_put(b"123") is PutResult.OK


class Run:
    def __init__(self, ring: Any = None) -> None:
        self.asked: list[int] = []
        self._ring = ring

    def ring(self, i: int, /) -> Any:
        self.asked.append(i)
        return self._ring


def test_an_edge_takes_part_in_one_run_at_a_time():
    edge, first, second = an_edge(), Run(), Run()
    edge.join(first, 0)
    with pytest.raises(RuntimeError, match="edge a:out->b:in takes part in a run already"):
        edge.join(second, 0)
    edge.leave(second)
    with pytest.raises(RuntimeError, match="takes part in a run already"):
        edge.join(second, 0)
    edge.leave(first)
    edge.join(second, 0)


def test_a_run_that_begins_during_the_first_put_brings_the_ring(monkeypatch: pytest.MonkeyPatch):
    edge, theirs = an_edge(), an_edge()
    run = Run(theirs.ring())

    class Lock:
        def __enter__(self) -> None:
            edge._host, edge._index = run, 3

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(edge_module, "_making", Lock())
    assert edge.try_put("late") is PutResult.OK
    assert (run.asked, edge.has_ring(), theirs.try_get()) == ([3], False, "late")


def test_a_limited_ring_is_kept_when_a_run_brings_its_clock():
    edge = an_edge(max_age_s=1.0)
    edge.try_put(1)
    kept = edge.ring()
    assert kept.limited
    assert edge.make_ring(None, lambda: 5) is kept


# ---- envelopes, policies, sizes --------------------------------------------------------------------------------------


def test_a_message_takes_over_a_trace_that_was_given_and_never_read():
    parent = Message(MessageType.DATA, 1, headers={"trace_id": "t-1"})
    scope = Scope(now=5.0)
    scope.handling = parent
    token = current_scope.set(scope)
    try:
        child = Message(MessageType.DATA, 2)
    finally:
        current_scope.reset(token)
    assert (child.headers["trace_id"], child.headers["timestamp"]) == ("t-1", 5.0)
    assert child.headers["parent_id"] == f"m{parent._headers.id:x}"


def test_items_are_merged_by_payload_or_by_message():
    with pytest.raises(ValueError, match=r"coalesce\(on='header'\): use 'payload' or 'message'"):
        Coalesce(max, "header")
    assert repr(Coalesce(max, "message")) == "coalesce(max, on='message')"


@pytest.mark.parametrize(
    ("payload", "size"),
    [
        (b"123", 3),
        (bytearray(5), 5),
        (memoryview(array.array("d", [0.0, 1.0])), 16),
        ("abc", 3),
        ("äb", 3),
        ("\ud800", 3),
        ([], sys.getsizeof([])),
    ],
)
def test_a_payload_counts_for_its_bytes(payload: Any, size: int):
    assert payload_bytes(payload) == size


@pytest.mark.req("V14")
def test_a_put_on_an_edge_that_was_emptied_uses_the_ring_that_is_there():
    class Counting(Edge[int]):
        made = 0

        def make_ring(self, *args: Any) -> Any:
            self.made += 1
            return super().make_ring(*args)

    edge = Counting(
        "a", Port("out", PortDirection.OUTPUT), "b", Port("in", PortDirection.INPUT), 4, max_bytes=100
    )
    for n in range(3):
        edge.try_put(n)
        edge.try_get()
    assert edge.made == 1
