from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from meridian.core.node import Node
from meridian.core.ports import Port, PortDirection, PortSpec
from meridian.core.subgraph import Subgraph
from meridian.utils import validation, validators
from meridian.utils.validation import (
    Issue,
    PydanticAdapter,
    SchemaValidator,
    validate_connection,
    validate_graph,
    validate_ports,
)

pytestmark = pytest.mark.req("V1")

CANARY = "4111-1111"


def texts(issues: list[Issue]) -> list[str]:
    return [f"{issue.severity}: {issue.message}" for issue in issues]


def test_both_modules_share_their_classes():
    assert [getattr(validators, name) is getattr(validation, name) for name in validation.__all__] == [
        True
    ] * 6
    assert validators.__all__ == validation.__all__


def test_an_issue_is_an_error_or_a_warning():
    error, warning = Issue("error", "m", "here"), Issue(severity="warning", message="m", location=("a", "b"))
    assert (error.is_error(), error.is_warning()) == (True, False)
    assert (warning.is_error(), warning.is_warning()) == (False, True)
    assert error == Issue("error", "m", "here")


# --- ports of stand-ins


class StandIn:
    def __init__(self, inputs: Any = None, outputs: Any = None) -> None:
        self._ports = inputs or {}, outputs or {}

    def inputs(self) -> Any:
        return self._ports[0]

    def outputs(self) -> Any:
        return self._ports[1]


@pytest.mark.v1("L14")
def test_methods_that_return_dicts_are_fine():
    assert validate_ports(StandIn({"a": 1}, {"b": 2})) == []


@pytest.mark.v1("L14")
def test_a_method_that_returns_no_dict_is_one_error_per_side():
    issues = validate_ports(Mock())
    assert texts(issues) == [
        "error: inputs() must return a dict, not <Mock>",
        "error: outputs() must return a dict, not <Mock>",
    ]
    assert all(str(issue.location).startswith("node:Mock") for issue in issues)


@pytest.mark.v1("L14")
def test_each_key_that_is_no_string_is_an_error():
    issues = validate_ports(StandIn({1: 0, "a": 0, (CANARY,): 0}, {None: 0}))
    assert texts(issues) == [
        "error: Port name must be string, not <int>",
        "error: Port name must be string, not <tuple>",
        "error: Port name must be string, not <NoneType>",
    ]


@pytest.mark.req("X2")
@pytest.mark.v1("L14")
def test_an_exception_while_checking_is_one_error_without_its_text():
    node = Mock()
    node.inputs.return_value = {}
    node.outputs.side_effect = RuntimeError(CANARY)
    assert texts(validate_ports(node)) == ["error: Failed to validate ports: RuntimeError"]


@pytest.mark.v1("L14")
def test_what_has_no_ports_or_no_methods_for_them_has_no_issues():
    assert validate_ports(object()) == []
    assert validate_ports(SimpleNamespace(inputs=[1], outputs={2: 3})) == []


def test_a_mock_that_poses_as_a_node_is_a_stand_in():
    node = Mock(spec=Node)
    node.inputs, node.outputs = Mock(return_value={}), Mock(return_value={})
    assert validate_ports(node) == []


# --- ports of real nodes


def test_a_proper_node_has_no_issues():
    assert validate_ports(Node.with_ports("n", ["a", "b"], ["a"])) == []
    assert validate_ports(Node("n")) == []


def test_ports_of_generated_nodes_may_be_a_dict_of_specifications():
    node = Node("n")
    node.inputs = {"a": PortSpec("a", int)}  # type: ignore[assignment]
    assert validate_ports(node) == []


@pytest.mark.v1("D48")
def test_real_ports_need_a_name_of_their_own_and_face_the_right_way():
    node = Node("n")
    node.inputs = [
        Port("a", PortDirection.INPUT),
        Port("a", PortDirection.INPUT),
        Port(" ", PortDirection.INPUT),
        Port(7, PortDirection.INPUT),  # type: ignore[arg-type]
        object(),  # type: ignore[list-item]
    ]
    node.outputs = [Port("out", PortDirection.INPUT)]
    issues = validate_ports(node)
    assert texts(issues) == [
        "error: Duplicate port name: a",
        "error: Port name must be string and not blank, not <str>",
        "error: Port name must be string and not blank, not <int>",
        "error: Port name must be string and not blank, not <NoneType>",
        "error: Port out is among the outputs but faces the other way",
    ]
    assert [issue.location for issue in issues] == ["node:n:inputs"] * 4 + ["node:n:outputs"]


# --- graphs of stand-ins


def graph(**attributes: Any) -> Any:
    empty: dict[str, Any] = {"_nodes": [], "_edges": [], "_exposed_inputs": {}, "_exposed_outputs": {}}
    return Mock(**(empty | attributes))


def named(name: object) -> Any:
    node = Mock()
    node.name = name
    return node


def test_a_proper_stand_in_has_no_issues():
    good = graph(_nodes=[named("a"), named("b")], _edges=[Mock(capacity=1)], _exposed_inputs={"in": 1})
    assert validate_graph(good) == []


@pytest.mark.v1("L14")
def test_each_repeated_node_name_is_an_error():
    assert texts(validate_graph(graph(_nodes=[named("a"), named("a"), named("b"), named("a")]))) == [
        "error: Duplicate node name: a",
        "error: Duplicate node name: a",
    ]


def test_nodes_and_edges_may_be_held_in_dicts():
    held = graph(_nodes={1: named("a"), 2: named("a")}, _edges={1: Mock(capacity=0)})
    assert len(validate_graph(held)) == 2


@pytest.mark.parametrize(
    ("capacity", "shown"), [(0, "0"), (-3, "-3"), (1.5, "<float>"), (None, "<NoneType>")]
)
@pytest.mark.v1("L14")
def test_a_capacity_that_is_no_positive_integer_is_an_error(capacity: object, shown: str):
    assert texts(validate_graph(graph(_edges=[Mock(capacity=capacity)]))) == [
        f"error: Edge capacity must be positive, not {shown}"
    ]


@pytest.mark.v1("L14")
def test_blank_and_other_names_of_exposed_ports_are_warnings():
    bad = graph(_exposed_inputs={"": 1, "  ": 2, "ok": 3}, _exposed_outputs=[7])
    assert texts(validate_graph(bad)) == [
        "warning: Exposed input has no name: <str>",
        "warning: Exposed input has no name: <str>",
        "warning: Exposed output has no name: <int>",
    ]


@pytest.mark.req("X2")
@pytest.mark.v1("L14")
def test_what_was_found_before_an_exception_is_kept():
    class Broken:
        _nodes = (named("a"), named("a"))

        @property
        def _edges(self) -> Any:
            raise RuntimeError(CANARY)

    assert texts(validate_graph(Broken())) == [
        "error: Duplicate node name: a",
        "error: Failed to validate graph: RuntimeError",
    ]


@pytest.mark.v1("L14")
def test_an_unreadable_graph_is_exactly_one_error():
    assert texts(validate_graph(Mock(_nodes=5))) == ["error: Failed to validate graph: TypeError"]


def test_what_has_none_of_the_attributes_has_no_issues():
    assert validate_graph(object()) == []
    assert validate_graph(SimpleNamespace(_nodes=[object()], _edges=[object()])) == []


# --- real graphs


@pytest.mark.v1("D48")
def test_a_real_graph_has_the_findings_of_its_own_validation():
    real = Subgraph.from_nodes("g", [Node.with_ports("a", [], ["out"]), Node.with_ports("b", ["in"], [])])
    real.connect(("a", "out"), ("b", "in"))
    assert validate_graph(real) == []
    real.connect(("a", "out"), ("b", "in"))
    real.expose_input("x", ("nobody", "in"))
    found = real.validate()
    assert len(found) >= 2
    assert validate_graph(real) == [Issue(f.level, f"{f.code}: {f.message}", "subgraph:g") for f in found]


# --- connections and payloads


@pytest.mark.parametrize("ends", [(None, PortSpec("a")), (PortSpec("a"), None), (None, None)])
def test_a_connection_needs_a_specification_at_both_ends(ends: Any):
    issue = validate_connection(*ends)
    assert issue is not None
    assert texts([issue]) == ["error: Port specifications cannot be None"]


def test_a_connection_with_specifications_is_fine():
    assert validate_connection(PortSpec("a"), PortSpec("b")) is None


def test_the_adapter_is_a_schema_validator():
    assert isinstance(PydanticAdapter(), SchemaValidator)
    assert not isinstance(object(), SchemaValidator)


def test_without_pydantic_a_payload_cannot_be_checked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydantic", None)
    adapter = PydanticAdapter()
    assert adapter._pydantic is None
    issue = adapter.validate_payload(dict, {})
    assert issue is not None
    assert issue.is_warning()
    assert issue.message.startswith("Pydantic not available")


def test_a_model_checks_the_payload(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydantic", SimpleNamespace())
    model = Mock()
    assert PydanticAdapter().validate_payload(model, {"a": 1}) is None
    model.model_validate.assert_called_once_with({"a": 1})


@pytest.mark.req("X2")
def test_a_payload_that_does_not_fit_is_an_error_without_the_payload():
    adapter, model = PydanticAdapter(), Mock()
    adapter._pydantic = Mock()
    model.model_validate.side_effect = ValueError(CANARY)
    issue = adapter.validate_payload(model, CANARY)
    assert issue is not None
    assert texts([issue]) == ["error: Schema validation failed: ValueError"]


def test_a_type_that_is_no_model_is_checked_by_a_type_adapter():
    adapter = PydanticAdapter()
    adapter._pydantic = Mock()
    assert adapter.validate_payload(int, 5) is None
    adapter._pydantic.TypeAdapter.assert_called_once_with(int)
    adapter._pydantic.TypeAdapter.return_value.validate_python.assert_called_once_with(5)


def test_the_real_pydantic_is_asked():
    pytest.importorskip("pydantic")
    adapter = PydanticAdapter()
    assert adapter.validate_payload(dict[str, int], {"a": 1}) is None
    issue = adapter.validate_payload(dict[str, int], {"a": CANARY})
    assert issue is not None
    assert issue.is_error()
    assert CANARY not in issue.message
