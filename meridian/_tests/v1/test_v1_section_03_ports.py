"""Section 3 of the v1 contract: ports and their specs."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal, Optional, TypedDict

import pytest

from meridian import Subgraph
from meridian._tests.core.parts import IN, OUT, Burst, Collect, run
from meridian.core.ports import Port, PortDirection, PortSpec, SchemaValidator

pytestmark = pytest.mark.req("V1")


@pytest.mark.v1("L5")
def test_a_direction_equals_its_name_but_prints_as_a_member():
    assert IN == "INPUT"
    assert OUT == "OUTPUT"
    assert str(IN) == f"{IN}" == "PortDirection.INPUT"
    assert list(PortDirection) == [IN, OUT]


def test_a_port_takes_its_fields_by_position_and_by_name():
    spec = PortSpec("a", int)
    made = Port("a", IN, 3, spec)
    assert (made.name, made.direction, made.index, made.spec) == ("a", IN, 3, spec)
    assert made == Port(name="a", direction=IN, index=3, spec=spec)
    assert Port("a", IN).index is None
    assert Port("a", IN).spec is None


@pytest.mark.v1("L8")
def test_a_spec_as_third_argument_lands_in_index_and_leaves_the_port_untyped():
    spec = PortSpec("o0", int)
    made = Port("o0", OUT, spec)
    assert made.index is spec
    assert made.spec is None


def test_ports_and_specs_compare_by_value_and_are_hashable():
    assert Port("a", IN, spec=PortSpec("a", int)) == Port("a", IN, spec=PortSpec("a", int))
    assert Port("a", IN) != Port("a", OUT)
    assert len({Port("a", IN), Port("a", IN), Port("b", IN)}) == 2
    assert PortSpec("a", int, "block") == PortSpec("a", int, "block")
    assert len({PortSpec("a"), PortSpec("a"), PortSpec("a", int)}) == 2


def test_ports_and_specs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Port("a", IN).name = "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        PortSpec("a").schema = int


def test_a_port_knows_its_direction():
    assert Port("a", IN).is_input() is True
    assert Port("a", IN).is_output() is False
    assert Port("a", OUT).is_output() is True
    assert Port("a", OUT).is_input() is False


def test_a_direction_given_by_name_counts_too():
    assert Port("a", "INPUT").is_input() is True
    assert Port("a", "OUTPUT").is_output() is True


def test_a_spec_without_schema_accepts_everything():
    made = PortSpec("a")
    assert (made.schema, made.policy) == (None, None)
    assert made.validate(object()) is True
    assert made.validate(None) is True


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (int, [1, True], ["1", 1.0, None]),
        (str, ["a"], [b"a", 1]),
        ((int, str), [1, "a"], [1.0]),
        (int | str, [1, "a"], [1.0, None]),
        (Optional[int], [1, None], ["a"]),  # noqa: UP045 - both spellings work
        (dict, [{}], [[]]),
    ],
)
def test_validate_is_isinstance_for_classes_tuples_and_unions(schema, good, bad):
    made = PortSpec("a", schema)
    assert [made.validate(value) for value in good] == [True] * len(good)
    assert [made.validate(value) for value in bad] == [False] * len(bad)


class Point(TypedDict):
    x: int
    y: typing.NotRequired[str]


@dataclasses.dataclass
class Reading:
    value: float


@pytest.mark.req("V3")
@pytest.mark.v1("D33")
@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (Any, [1, None, "a"], []),
        (list[int], [[], [1, 2]], [[1, "a"], (1,), "ab"]),
        (dict[str, Any], [{}, {"a": object()}], [{1: 2}, []]),
        (dict[str, int], [{"a": 1}], [{"a": "b"}]),
        (tuple[int, str], [(1, "a")], [(1,), ("a", 1), [1, "a"]]),
        (tuple[int, ...], [(), (1, 2)], [("a",)]),
        (set[int], [{1}], [{"a"}, [1]]),
        (list[int] | None, [[1], None], [["a"], 1]),
        (Literal["a", 1], ["a", 1], ["b", True]),
        (Point, [{"x": 1}, {"x": 1, "y": "a"}], [{}, {"x": "a"}, {"x": 1, "z": 1}, 1]),
        (Reading, [Reading(1.0)], [1.0, {"value": 1.0}]),
    ],
)
def test_validate_knows_annotations_that_isinstance_refuses(schema, good, bad):
    made = PortSpec("a", schema)
    assert [made.validate(value) for value in good] == [True] * len(good)
    assert [made.validate(value) for value in bad] == [False] * len(bad)


@pytest.mark.v1("D33")
@pytest.mark.parametrize("schema", ["int", 5, (), lambda value: True])
def test_a_meaningless_schema_is_a_type_error_when_asked(schema):
    with pytest.raises(TypeError):
        PortSpec("a", schema).validate(1)


def test_a_schema_validator_is_anything_that_is_called_with_a_value():
    def positive(value: Any) -> bool:
        return bool(value > 0)

    check: SchemaValidator = positive
    assert check(1) is True


def test_the_policy_of_a_spec_has_no_effect():
    graph = Subgraph.from_nodes("g", [burst := Burst("b", range(10)), sink := Collect("c")])
    burst.outputs = [Port("out", PortDirection.OUTPUT, spec=PortSpec("out", int, "drop"))]
    sink.inputs = [Port("in", PortDirection.INPUT, spec=PortSpec("in", int, "drop"))]
    graph.connect(("b", "out"), ("c", "in"), capacity=2)
    run(graph)
    assert sink.got == list(range(10))
