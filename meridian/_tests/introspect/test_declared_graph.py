"""A graph as it was declared: everything that decides how it runs, no values, and the same each time."""

import enum
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, make_dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import jsonschema
import msgspec
import pydantic
import pytest

from meridian import (
    Node,
    PriorityBand,
    SchedulerConfig,
    Subgraph,
    coalesce,
    drop,
    graph,
    node,
    sink,
    source,
    via,
)
from meridian.core.policies import ErrorPolicy
from meridian.introspect.graph import declared
from meridian.introspect.schema import graph_schema
from meridian.introspect.types import TypeWriter, type_text

pytestmark = pytest.mark.req("N1.4", "N7")

CANARY = "canary-04be19f7"
Id = NewType("Id", int)
T = TypeVar("T")
Bounded = TypeVar("Bounded", bound=int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Opaque:
    def __repr__(self):
        return CANARY


@dataclass
class Line:
    what: str = CANARY
    next: "Line | None" = None


@dataclass
class Order:
    id: Id
    lines: list[Line] = field(default_factory=list)
    colour: Colour = Colour.RED
    password: str = CANARY


class Part(pydantic.BaseModel):
    n: int = 7


class Model(pydantic.BaseModel):
    at: datetime
    token: str = pydantic.Field(CANARY, examples=[CANARY])
    default: int = 3
    parts: list[Part] = [Part(n=3)]


class Careless(pydantic.BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    a: Annotated[Any, pydantic.WithJsonSchema({"type": "string"})] = Opaque()


class Struct(msgspec.Struct):
    a: int = 5
    b: str = CANARY


class Keys(TypedDict):
    a: int
    b: NotRequired[str]


def newer(old, new):
    return new


@node(on_error=ErrorPolicy.RAISE_EXCEPTION)
def parse(order: Order) -> Model:
    """Make a model of an order.

    This is not told.
    """


@node(concurrency=8, ordered=False)
async def ask(model: Model) -> Struct | Keys: ...


def described(*flows, **options):
    return declared([graph("g", *flows)], SchedulerConfig(), **options)


def checked(made):
    """The document; it fits the published schema, and every schema in it is one and leads somewhere."""
    data = made.as_dict()
    jsonschema.Draft202012Validator(graph_schema()).validate(data)
    for each in (*data["nodes"], *data["edges"]):
        for port in (*each.get("inputs", ()), *each.get("outputs", ()), *([each] if "id" in each else [])):
            if port["schema"] is not None:
                jsonschema.Draft202012Validator.check_schema(port["schema"])
    assert CANARY not in json.dumps(data, allow_nan=False)
    return data


def test_nodes_and_edges_are_told_with_all_that_decides_how_they_run():
    edge = via(capacity=4, policy=coalesce(newer), max_bytes=1000, max_age_s=2.5)
    made = described(source([], name="in") >> parse >> edge >> ask >> sink(print, name="out"),
                     bands={"parse:output->ask:input": PriorityBand.HIGH}, capacities={"in:output->parse:input": 9})  # fmt: skip
    nodes = {each.name: each for each in made.nodes}
    assert list(nodes) == ["in", "parse", "ask", "out"]
    assert (nodes["parse"].type, nodes["parse"].summary, nodes["parse"].on_error) == (
        "function",
        "Make a model of an order.",
        "raise",
    )
    assert (nodes["ask"].asynchronous, nodes["ask"].concurrency, nodes["ask"].ordered) == (True, 8, False)
    assert (nodes["in"].asynchronous, nodes["in"].type, nodes["in"].summary) == (None, "source", None)
    assert nodes["out"].summary is None, "what Python says about print differs from version to version"
    first, told, _ = made.edges
    assert (first.policy, first.band, first.capacity, first.merge) == ("block", "NORMAL", 9, None)
    assert (told.policy, told.merge, told.band) == ("coalesce", "newer", "HIGH")
    assert (told.capacity, told.max_bytes, told.max_age_s) == (4, 1000, 2.5)
    assert told.type == f"{__name__}.Model"
    assert made.settings.fairness_ratio == (4, 2, 1)
    checked(made)


def test_nested_graphs_are_told_with_what_they_expose():
    inner = graph("inner", parse)
    inner.expose_input("orders", ("parse", "input"))
    inner.expose_output("models", ("parse", "output"))
    inner.max_bytes = 500
    outer = graph("outer", source([], name="in") >> inner >> sink(print, name="out"))
    made = declared([outer, Subgraph.from_nodes("beside", [Node("alone")])], SchedulerConfig())
    assert [(each.name, each.nested, each.nodes) for each in made.graphs] == [
        ("outer", False, ("in", "inner", "out")),
        ("inner", True, ("parse",)),
        ("beside", False, ("alone",)),
    ]
    exposed = made.graphs[1]
    assert exposed.max_bytes == 500
    assert (exposed.inputs[0].name, exposed.inputs[0].node, exposed.inputs[0].port) == (
        "orders",
        "parse",
        "input",
    )
    assert [each.name for each in made.nodes] == ["in", "inner/parse", "out", "alone"]
    checked(made)


def test_two_exports_are_the_same_byte_by_byte():
    texts = {
        json.dumps(described(source([], name="in") >> parse >> ask >> sink(print)).as_dict())
        for _ in range(2)
    }
    assert len(texts) == 1
    assert "0x" not in texts.pop()


@pytest.mark.parametrize(
    ("hint", "text", "schema"),
    [
        (int, "int", {"type": "integer"}),
        (None, "None", {"type": "null"}),
        (Any, "Any", {}),
        (str | None, "str | None", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ((int, str), "int | str", {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (list[int], "list[int]", {"type": "array", "items": {"type": "integer"}}),
        (tuple[int, ...], "tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}),
        (dict[str, bool], "dict[str, bool]", {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (Literal["a", 3], "Literal['a', 3]", {"enum": ["a", 3]}),
        (Literal[Colour.RED], "Literal[Colour.RED]", {"enum": ["red"]}),
        (Annotated[int, Opaque()], "int", {"type": "integer"}),
        (Id, "Id", {"type": "integer"}),
        (T, "T", {}),
        (Bounded, "Bounded", {"type": "integer"}),
        (Final[int], "Final[int]", {"type": "integer"}),
        (datetime, "datetime.datetime", {"type": "string", "format": "date-time"}),
        (UUID, "uuid.UUID", {"type": "string", "format": "uuid"}),
        (Decimal, "decimal.Decimal", {"type": "string"}),
        (Path, "pathlib.Path", {"type": "string", "format": "path"}),
        (Colour, f"{__name__}.Colour", {"enum": ["red", "blue"]}),
        (Opaque, f"{__name__}.Opaque", {"x-python": f"{__name__}.Opaque"}),
        (
            Iterator[Opaque],
            f"collections.abc.Iterator[{__name__}.Opaque]",
            {"x-python": f"collections.abc.Iterator[{__name__}.Opaque]"},
        ),
        (Opaque(), f"{__name__}.Opaque", {"x-python": f"{__name__}.Opaque"}),
    ],
)
def test_types_are_told_as_annotations_and_as_json_schema(hint, text, schema):
    assert (type_text(hint), TypeWriter().schema(hint)) == (text, schema)


def validator(writer, hint):
    return jsonschema.Draft202012Validator({**writer.schema(hint), "types": writer.defined()})


def test_classes_are_defined_once_without_their_values_and_may_refer_to_themselves():
    writer = TypeWriter()
    first = writer.schema(Order)
    assert first == writer.schema(Order) == {"$ref": f"#/types/{__name__}.Order"}
    said = writer.defined()[f"{__name__}.Order"]
    assert said["required"] == ["id", "lines", "colour", "password"]
    assert said["properties"]["password"] == {"type": "string"}, "its name is no value"
    whole = validator(writer, Order)
    line = {"what": "a", "next": {"what": "b", "next": None}}
    whole.validate({"id": 1, "lines": [line], "colour": "red", "password": "x"})
    assert not whole.is_valid(
        {"id": 1, "lines": [{"what": 3, "next": None}], "colour": "red", "password": ""}
    )


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (
            Model,
            {"at": "2026-01-01T00:00:00Z", "token": "x", "default": 1, "parts": [{"n": 1}]},
            {"parts": [{"n": "x"}]},
        ),
        (Struct, {"a": 1, "b": ""}, {"a": "x"}),
        (Keys, {"a": 1}, {"b": "x"}),
    ],
)
def test_models_structs_and_typed_dicts_are_described(hint, good, bad):
    writer = TypeWriter()
    whole = validator(writer, hint)
    whole.validate(good)
    assert not whole.is_valid(bad)
    text = json.dumps(writer.defined())
    assert CANARY not in text
    assert '"examples"' not in text


def test_a_field_that_is_called_default_is_kept_and_only_the_keyword_goes():
    writer = TypeWriter()
    writer.schema(Model)
    properties = writer.defined()[f"{__name__}.Model"]["properties"]
    assert set(properties) == {"at", "token", "default", "parts"}
    assert "default" not in properties["default"]


def test_classes_that_fail_when_they_are_described_are_told_by_their_name():
    broken = make_dataclass("Broken", [("a", "Nowhere")])

    class Raising:
        @classmethod
        def model_json_schema(cls, **_):
            raise RuntimeError(CANARY)

    class Lying:
        @classmethod
        def model_json_schema(cls, **_):
            return {"type": {"x": Opaque()}, "n": float("nan"), "m": Colour.RED}

    for cls in (broken, Raising, Lying):
        writer = TypeWriter()
        writer.schema(cls)
        (said,) = writer.defined().values()
        assert (said["title"], said["x-python"].rpartition(".")[2]) == (cls.__name__, cls.__name__)
        assert CANARY not in json.dumps(said, allow_nan=False)


def test_a_default_that_is_no_json_is_not_quoted_in_a_warning():
    writer = TypeWriter()
    writer.schema(Careless)  # warnings are errors here
    assert writer.defined()[f"{__name__}.Careless"]["properties"] == {"a": {"title": "A", "type": "string"}}


def test_two_classes_of_one_name_are_told_apart():
    writer = TypeWriter()
    one, other = (writer.schema(make_dataclass("Same", [("a", kind)])) for kind in (int, str))
    assert one != other
    assert [said["properties"]["a"]["type"] for said in writer.defined().values()] == ["integer", "string"]


@pytest.mark.req("X2")
def test_names_go_through_the_redaction_policy_and_docstrings_of_dataclasses_stay_inside():
    @dataclass
    class Settled(Node):
        name: str = "a@example.org"
        secret: str = CANARY

        def __post_init__(self):
            super().__init__(self.name)

    made = declared([Subgraph.from_nodes("g", [Settled()])], SchedulerConfig())
    assert made.nodes[0].summary is None
    assert "example.org" not in json.dumps(checked(made))


def test_the_schema_says_something_about_every_key():
    schema = graph_schema()
    for each in (schema, *schema["$defs"].values()):
        assert all(said["description"] for said in each["properties"].values())


def test_unconnected_and_untyped_ports_are_told_as_anything():
    made = described(source([], name="in") >> via(policy=drop()) >> sink(lambda x: None, name="out"))
    assert (made.edges[0].type, made.edges[0].schema, made.edges[0].policy) == (None, None, "drop")
    assert (made.nodes[1].inputs[0].type, made.nodes[1].inputs[0].schema) == (None, None)
