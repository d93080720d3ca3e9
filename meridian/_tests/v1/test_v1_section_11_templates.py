"""Source text of nodes, subgraphs and their tests: what v1's programs look for in it, and that it works."""

import importlib
import subprocess
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

import meridian.scaffolding as scaffolding
from meridian import (
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    PortSpec,
    Scheduler,
    SchedulerConfig,
    Subgraph,
)
from meridian.scaffolding import (
    generate_node_template,
    generate_node_test_template,
    generate_subgraph_template,
    generate_subgraph_test_template,
    parse_ports,
)
from meridian.scaffolding.generate_node import generate_test_template
from meridian.scaffolding.parsers.types import resolve_types
from meridian.testing import NodeTestHarness, simulate

pytestmark = [pytest.mark.req("V1", "N1.4"), pytest.mark.v1("L13", "D49")]

INPUTS = {"a": "int", "b": "dict[str, int]", "c": "List[datetime]"}
OUTPUTS = {"out": "str"}

USUAL = st.sampled_from(
    ["int", "str", "bool", "float", "bytes", "Any", "None", "dict[str, int]", "list[datetime]", "List[int]",
     "Optional[UUID]", "Union[int, str]", "int | None", "tuple[int, ...]", "Mapping[str, Decimal]", "uuid.UUID",
     "Literal['x', 2]", "Callable[[int], str]", "Dict[str, List[int]]"]
)  # fmt: skip
PORTS = st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), USUAL, max_size=5)


def made(source: str, name: str = "OrderFilter"):
    """Execute generated source, and return the class in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        namespace = {"__name__": "generated"}
        exec(compile(source, "generated", "exec"), namespace)
    return namespace[name]


# ---- what v1's programs look for -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fragment",
    [
        "class OrderFilter(Node):",
        "def __init__(self",
        "from __future__ import annotations",
        "from typing import Any",
        "from meridian.core.message import Message",
        "from meridian.core.node import Node",
        "from meridian.core.ports import PortSpec",
        '"a": PortSpec(name="a", schema=int)',
        '"b": PortSpec(name="b", schema=dict[str, int])',
        '"c": PortSpec(name="c", schema=List[datetime])',
        '"out": PortSpec(name="out", schema=str)',
        "async def on_start(self) -> None:",
        "async def on_message",
        "async def on_tick(self) -> None:",
        "async def on_stop(self) -> None:",
        "Default overflow policy is latest",
    ],
)
def test_a_node_has_every_fragment(fragment):
    assert fragment in generate_node_template("OrderFilter", INPUTS, OUTPUTS, "latest")


def test_a_node_without_ports_does_not_import_port_specs_and_one_without_a_policy_names_none():
    source = generate_node_template("OrderFilter", {}, {})
    assert "PortSpec" not in source
    assert "overflow policy" not in source


@pytest.mark.parametrize(
    "fragment",
    [
        "class TestOrderFilter:",
        "from nodes.order_filter import OrderFilter",
        "def test_node_creation(self, node):",
        "def test_port_definitions(self, node):",
        "async def test_lifecycle_hooks",
        'assert node.name == "order_filter"',
    ],
)
def test_a_test_of_a_node_has_every_fragment(fragment):
    assert fragment in generate_test_template("OrderFilter", "nodes.order_filter")


def test_the_test_of_the_package_level_name_is_the_one_that_knows_the_ports():
    assert scaffolding.generate_test_template is generate_node_test_template
    source = scaffolding.generate_test_template("OrderFilter", INPUTS, OUTPUTS)
    assert "from order_filter import OrderFilter" in source
    assert 'list(node.inputs) == ["a", "b", "c"]' in source


@pytest.mark.parametrize(
    "fragment",
    [
        "class OrderFlow(Subgraph):",
        "from meridian.core.subgraph import Subgraph",
        "from meridian.core.ports import PortSpec",
        "from meridian.core.scheduler import Scheduler",
        "from meridian.utils.validation import validate_graph",
        "def _setup_nodes(self) -> None:",
        "def _setup_connections(self) -> None:",
        "def _setup_exposed_ports(self) -> None:",
        "def validate_composition(self) -> None:",
        "issues = validate_graph(self)",
        "issue.is_error()",
        "issue.is_warning()",
        "raise ValueError",
        "# self.add_node(",
        "# self.connect(",
        "# self.expose_input(",
        "# self.expose_output(",
        'if __name__ == "__main__":',
        "    subgraph.validate_composition()",
    ],
)
def test_a_subgraph_has_every_fragment(fragment):
    assert fragment in generate_subgraph_template("OrderFlow")


@pytest.mark.parametrize(
    "fragment",
    [
        "class TestOrderFlow:",
        "from order_flow import OrderFlow",
        "from meridian.core.scheduler import Scheduler",
        "def test_subgraph_creation(self, subgraph):",
        "def test_subgraph_validation(self, subgraph):",
        "def test_node_composition(self, subgraph):",
        "def test_edge_connections(self, subgraph):",
        "def test_port_exposure(self, subgraph):",
        "        try:\n            subgraph.validate_composition()\n        except ValueError:\n",
        'assert subgraph.name == "order_flow"',
    ],
)
def test_a_test_of_a_subgraph_has_every_fragment(fragment):
    assert fragment in generate_subgraph_test_template("OrderFlow")


def test_all_of_it_compiles_and_stays_under_200_lines():
    for source in (
        generate_node_template("OrderFilter", INPUTS, OUTPUTS, "drop"),
        generate_node_test_template("OrderFilter", INPUTS, OUTPUTS),
        generate_test_template("OrderFilter", "nodes.order_filter"),
        generate_subgraph_template("OrderFlow"),
        generate_subgraph_test_template("OrderFlow"),
    ):
        compile(source, "generated", "exec")
        assert len(source.splitlines()) < 200
        assert source.endswith("\n")
        assert not source.endswith("\n\n")


# ---- that it works -------------------------------------------------------------------------------------------------


def test_an_instance_is_called_like_its_class_and_its_ports_are_dicts_of_specifications():
    node = made(generate_node_template("OrderFilter", INPUTS, OUTPUTS))()
    assert node.name == "order_filter"
    assert node.inputs["a"] == PortSpec("a", int)
    assert list(node.inputs) == ["a", "b", "c"]
    assert node.outputs == {"out": PortSpec("out", str)}
    assert [port.direction for port in node.port_map().values()] == [PortDirection.INPUT] * 3 + [
        PortDirection.OUTPUT
    ]


@given(PORTS, PORTS)
def test_any_usual_ports_come_back_as_the_specifications_of_an_instance(inputs, outputs):
    text = ", ".join(f"{name}: {type_}" for name, type_ in inputs.items())
    node = made(generate_node_template("OrderFilter", parse_ports(text), outputs))()
    for ports, given_ports in ((node.inputs, inputs), (node.outputs, outputs)):
        expected = resolve_types(given_ports).values
        assert ports == {name: PortSpec(name, expected[type_]) for name, type_ in given_ports.items()}
    compile(generate_node_test_template("OrderFilter", inputs, outputs), "generated", "exec")


def test_a_port_may_carry_messages():
    source = generate_node_template("Envelopes", {"a": "Message", "b": "list[MessageType]"}, {})
    assert "from meridian.core.message import Message, MessageType\n" in source
    assert made(source, "Envelopes")().inputs["a"] == PortSpec("a", Message)


def test_a_generated_node_runs_in_a_graph_and_its_hooks_are_awaited():
    source = generate_node_template("OrderFilter", {"a": "int"}, {"out": "int"})
    source = source.replace("        # await self.send(", "        await self.send(")

    class Three(Node):
        def __init__(self):
            super().__init__("three", [], [Port("out", PortDirection.OUTPUT, spec=PortSpec("out", int))])
            self.left = [1, 2, 3]

        def _handle_tick(self):
            if self.left:
                self.emit("out", Message(MessageType.DATA, self.left.pop(0)))

        def has_pending(self):
            return bool(self.left)

    class Keep(Node):
        def __init__(self):
            super().__init__("keep", [Port("in", PortDirection.INPUT)])
            self.got = []

        def _handle_message(self, port, msg):
            self.got.append(msg.payload)

    keep = Keep()
    graph = Subgraph.from_nodes("g", [Three(), made(source)(), keep])
    graph.connect(("three", "out"), ("order_filter", "a"))
    graph.connect(("order_filter", "out"), ("keep", "in"), capacity=1)
    ran = simulate(graph)
    assert keep.got == [1, 2, 3]
    assert (ran.report.reason, ran.report.errors) == ("finished", [])


def test_a_generated_node_works_with_the_harness_as_it_is():
    harness = NodeTestHarness(made(generate_node_template("OrderFilter", INPUTS, OUTPUTS))())
    harness.run(harness.node.on_start())
    harness.send_message("a", 1)
    harness.trigger_tick()
    harness.run(harness.node.on_stop())
    assert harness.get_emitted_messages("out") == []


def test_a_generated_subgraph_is_valid_and_runs_to_its_end():
    graph = made(generate_subgraph_template("OrderFlow"), "OrderFlow")()
    assert (graph.name, graph.validate()) == ("order_flow", [])
    graph.validate_composition()
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.05))
    scheduler.register(graph)
    scheduler.run()
    assert scheduler.report().status != "running"


def test_a_generated_subgraph_refuses_what_cannot_run():
    graph = made(generate_subgraph_template("OrderFlow"), "OrderFlow")()
    graph.expose_input("orders", ("nobody", "in"))
    with pytest.raises(ValueError, match="BAD_EXPOSE_IN"):
        graph.validate_composition()


def test_a_class_whose_name_begins_with_test_is_not_taken_for_a_test():
    assert made(generate_node_template("TestNode", {}, {}), "TestNode").__test__ is False
    assert made(generate_subgraph_template("TestFlow"), "TestFlow").__test__ is False


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "generate",
    [
        lambda name: generate_node_template(name, {}, {}),
        lambda name: generate_node_test_template(name, {}, {}),
        lambda name: generate_test_template(name, "nodes.x"),
        generate_subgraph_template,
        generate_subgraph_test_template,
    ],
)
def test_every_template_refuses_a_bad_name(generate):
    for name in ("order", "", "X:\n    pass", "Class"):
        with pytest.raises(ValueError, match="give a"):
            generate(name)


@pytest.mark.parametrize("name", ["Node", "Message", "PortSpec", "Any", "UUID"])
def test_a_node_cannot_be_called_like_what_its_module_imports(name):
    with pytest.raises(ValueError, match="is a name that its module imports"):
        generate_node_template(name, {"a": "UUID"}, {})


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="policy 'lossy': use block, drop, latest, coalesce"):
        generate_node_template("OrderFilter", {}, {}, "lossy")


@pytest.mark.parametrize(
    ("policy", "hint"),
    [("drop", 'policy="drop"'), ("Latest", 'policy="latest"'), ("coalesce", "policy=coalesce(merge)")],
)
def test_a_policy_comes_with_how_to_give_it(policy, hint):
    text = generate_node_template("OrderFilter", {}, {}, policy)
    assert f"Default overflow policy is {policy}: connect its inputs with ``{hint}``." in text


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="port 'out': unknown type 'Order'"):
        generate_node_template("OrderFilter", {}, {"out": "Order"})


# ---- tools ---------------------------------------------------------------------------------------------------------


def tool(name: str, *args: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed here")
    ran = subprocess.run(
        [sys.executable, "-m", name, *args], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture(params=["src", "app"])
def generated(request, project):
    """A project with nodes of usual and of old-fashioned types, a subgraph, and tests."""
    base = project / request.param
    for name, inputs in (
        ("OrderFilter", "a:int,b:dict[str, int],c:datetime,d:Callable[[int], str],e:decimal.Decimal"),
        ("OldOrders", "a:List[int],b:Optional[int],c:Union[int, str],d:Dict[str, Tuple[int, ...]]"),
        ("TestNode", ""),
    ):
        ports = parse_ports(inputs)
        assert scaffolding.create_node_files(name, "nodes", ports, {"out": "str"}, base, include_tests=True)
    assert scaffolding.create_subgraph_files("OrderFlow", "flows", base, include_tests=True)
    return project


def test_ruff_finds_nothing_by_its_default_rules_and_formats_nothing(generated):
    tool("ruff", "check", "--isolated", ".")
    tool("ruff", "format", "--isolated", "--check", ".")


def test_mypy_finds_nothing_in_its_strict_mode(generated, monkeypatch):
    (base,) = (path for path in generated.iterdir() if path.name in ("src", "app"))
    monkeypatch.setenv("MYPYPATH", str(base))
    cache = ("--strict", "--config-file", "", "--cache-dir", str(generated / "cache"))
    tests = [str(generated / "tests" / kind) for kind in ("unit", "integration")]
    tool("mypy", *cache, *(str(path) for path in base.iterdir()), *tests)


def test_generated_tests_pass(generated, python):
    said = python("-m", "pytest", "-q", "-W", "error", "tests")
    assert "18 passed" in said
