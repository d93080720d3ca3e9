"""The catalogue says what the code does: every node made from what it says, every example run."""

import inspect
import io
import json
import os
import warnings
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jsonschema
import pytest

from meridian import Node, nodes
from meridian.nodes.catalogue import REFERENCE, NodeEntry, _json_schema, catalogue, find, schema, schemas
from meridian.observability import ObservabilityConfig, configure_observability

pytestmark = pytest.mark.req("V11", "N1.4")

ENTRIES = catalogue()
each_node = pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])

# What a schema can't know, by name of the parameter or node.parameter: values that are meant.
MEANT = {
    "EncryptionNode.encryption_key": "0" * 43 + "=",
    "HttpClientNode.base_url": "http://localhost:1",
    "HttpServerNode.host": "127.0.0.1",
    "HttpServerNode.reply_status": 202,
    "Join.inputs": ["left", "right"],
    "MessageQueueNode.connection_config": {},
    "MessageQueueNode.queue_type": "memory",
    "MessageQueueNode.mode": "consumer",
    "Router.default_port": "left",
    "Splitter.port_filters": {"left": "builtins:bool"},
    "ValidationNode.schema": "builtins:bool",
    "ValidationNode.schema_type": "callable",
    "WebSocketNode.url": "ws://localhost:1",
    "file_path": "lines.txt",
    "input_ports": ["left", "right"],
    "output_ports": ["left", "right"],
}


async def wait(payload):
    return payload


def stand_in(payload=None, other=None):
    return iter((payload, other))


REFERENCES = {"AsyncWorker": wait, "AsyncMap": wait}


async def numbers():
    yield 1


def sample(entry: NodeEntry, name: str, wanted: dict) -> object:
    """Return a JSON value of a parameter."""
    for key in (f"{entry.name}.{name}", name):
        if key in MEANT:
            return MEANT[key]
    if "enum" in wanted:
        return wanted["enum"][0]
    if "anyOf" in wanted:
        return sample(entry, name, wanted["anyOf"][0])
    if "pattern" in wanted:
        return "some.module:function"
    match wanted.get("type"):
        case "array":
            return [sample(entry, name, wanted.get("items", {}))]
        case "object":
            each = wanted.get("additionalProperties")
            return {"key": sample(entry, name, each)} if each else {}
        case kind:
            return {"string": "text", "integer": 2, "number": 1.5, "boolean": True, None: 1}[kind]


INSTEAD = {
    "FilterTransformer": {"types": ["predicate"]},
    "Router": {"by_type": ["routing_fn"], "by_field": ["routing_fn"]},
}
"""Parameters that stand for others, and can't be given with them."""


def full(entry: NodeEntry) -> dict[str, object]:
    left_out = INSTEAD.get(entry.name, {})
    return {
        each.name: sample(entry, each.name, dict(each.schema))
        for each in entry.parameters
        if each.name not in left_out
    }


def minimal(entry: NodeEntry) -> dict[str, object]:
    every = full(entry)
    needed = {other for others in INSTEAD.get(entry.name, {}).values() for other in others}
    if "routing_fn" in needed:
        needed.add("output_ports")  # which only `by_type` tells besides
    return {each.name: every[each.name] for each in entry.parameters if each.required or each.name in needed}


def as_python(entry: NodeEntry, name: str, value: object) -> object:
    """Turn a JSON value into what the constructor takes."""
    (parameter,) = (each for each in entry.parameters if each.name == name)
    text = json.dumps(parameter.schema)
    if name == "config":
        return nodes.NodeConfig(**value)
    if "contentEncoding" in text:
        return b64decode(value)
    if "pattern" in text or name == "schema":
        function = REFERENCES.get(entry.name, numbers if name == "items" else stand_in)
        if isinstance(value, dict):
            return dict.fromkeys(value, function)
        return [function] if isinstance(value, list) else function
    return value


def make(entry: NodeEntry, given: dict[str, object]) -> Node:
    made = {name: as_python(entry, name, value) for name, value in given.items()}
    return getattr(nodes, entry.name)(**made)


# ---- what is in it -------------------------------------------------------------------------------------------------


def test_every_node_of_the_library_is_in_it_and_nothing_else():
    classes = {
        name
        for name in nodes.__all__
        if isinstance(value := getattr(nodes, name), type) and issubclass(value, Node)
    }
    assert {entry.name for entry in ENTRIES} == (classes - {"FunctionNode"}) | {"from_async_iterable"}


@each_node
def test_every_parameter_of_the_constructor_is_in_it_and_explained(entry):
    signature = inspect.signature(getattr(nodes, entry.name))
    assert [each.name for each in entry.parameters] == list(signature.parameters)
    for each in entry.parameters:
        assert each.required == (signature.parameters[each.name].default is inspect.Parameter.empty)
        assert each.description, f"{entry.name}: Args says nothing about {each.name}"


@each_node
def test_every_explanation_belongs_to_a_parameter(entry):
    told = inspect.getdoc(getattr(nodes, entry.name)).partition("\nArgs:\n")[2].partition("\n\n")[0]
    names = [
        line.strip().partition(":")[0]
        for line in told.splitlines()
        if line.startswith("    ") and line[4] != " "
    ]
    assert names == [each.name for each in entry.parameters]


@each_node
def test_a_node_says_what_it_is(entry):
    assert entry.summary.endswith(".")
    assert entry.purpose.endswith(".")
    assert entry.module == f"meridian.nodes.{entry.category}"


@each_node
def test_the_ports_are_those_that_a_node_has(entry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    modes = [{"mode": "producer"}, {"mode": "consumer"}] if entry.name == "MessageQueueNode" else [{}]
    made = [make(entry, {**minimal(entry), **mode}) for mode in modes]
    ports = [port for node in made for port in node.port_map().values()]
    expected = [
        {name for said in side for name in (["left", "right"] if said.startswith("{") else [said])}
        for side in (entry.inputs, entry.outputs)
    ]
    assert [
        {port.name for port in ports if port.is_input()},
        {port.name for port in ports if port.is_output()},
    ] == expected


def test_a_node_is_found_whatever_its_capitals():
    assert find("cachenode") is find("CacheNode")
    with pytest.raises(KeyError, match="there is no node 'CacheNod': did you mean CacheNode"):
        find("CacheNod")


@each_node
def test_an_entry_is_json(entry):
    assert json.loads(json.dumps(entry.as_dict()))["name"] == entry.name


# ---- schemas -------------------------------------------------------------------------------------------------------


@each_node
def test_a_schema_is_valid_and_takes_what_the_constructor_takes(entry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = schema(entry)
    jsonschema.Draft202012Validator.check_schema(document)
    for given in (minimal(entry), full(entry)):
        jsonschema.validate(given, document, cls=jsonschema.Draft202012Validator)
        assert isinstance(make(entry, given), Node)


@each_node
def test_a_schema_takes_every_default(entry):
    document = schema(entry)
    defaults = {each.name: each.default for each in entry.parameters if not each.required}
    jsonschema.validate({**minimal(entry), **defaults}, document, cls=jsonschema.Draft202012Validator)


@each_node
def test_a_schema_refuses_what_is_missing_misspelt_or_of_the_wrong_type(entry):
    validator = jsonschema.Draft202012Validator(schema(entry))
    good = minimal(entry)
    assert validator.is_valid(good)
    assert not validator.is_valid({key: value for key, value in good.items() if key != "name"})
    assert not validator.is_valid({**good, "label": 1})
    assert not validator.is_valid({**good, "name": 1})


def test_all_schemas_are_one_valid_document():
    document = schemas()
    jsonschema.Draft202012Validator.check_schema(document)
    assert list(document["$defs"]) == [entry.name for entry in ENTRIES]


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (Any, {}),
        (None, {"type": "null"}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (float | None, {"anyOf": [{"type": "number"}, {"type": "null"}]}),
        (str | os.PathLike[str], {"type": "string"}),
        (Literal["a", 2], {"enum": ["a", 2]}),
        (list, {"type": "array"}),
        (Sequence[int], {"type": "array", "items": {"type": "integer"}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (tuple[int, str], {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False}),
        (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (nodes.WindowType, {"enum": ["tumbling"]}),
        (Callable[[int], str], REFERENCE),
        (io.StringIO, REFERENCE),
    ],
    ids=str,
)  # fmt: skip
def test_an_annotation_becomes_a_schema(hint, expected):
    assert _json_schema(hint) == expected


# ---- examples ------------------------------------------------------------------------------------------------------


@each_node
def test_the_example_runs_and_checks_itself(entry, tmp_path, monkeypatch):
    assert entry.example, f"{entry.name} has no example"
    assert "assert " in entry.example, f"the example of {entry.name} asserts nothing"
    assert entry.name in entry.example
    monkeypatch.chdir(tmp_path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(compile(entry.example, f"example of {entry.name}", "exec"), {"__name__": "__main__"})
    finally:
        configure_observability(ObservabilityConfig())
