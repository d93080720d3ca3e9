"""Source text of a subgraph and its test; as with nodes, parts of it are pinned by programs written for v1."""

from __future__ import annotations

from typing import Final

from meridian.scaffolding.parsers.names import check_class_name, snake_case
from meridian.scaffolding.templates.source import module_under_test, source

_IMPORTED: Final = {"PortSpec", "Scheduler", "Subgraph", "annotations", "validate_graph"}


def generate_subgraph_template(class_name: str) -> str:
    """Return the source text of a subgraph.

    Args:
        class_name: In PascalCase; the graph's name is the same in snake case.

    Raises:
        ValueError: the name can't be used.
    """
    check_class_name(class_name, _IMPORTED)
    name = snake_case(class_name)
    not_a_test = ["    __test__ = False  # pytest would take it for a test, by its name", ""]
    return source(
        f'"""The subgraph {class_name}."""',
        "",
        "from __future__ import annotations",
        "",
        "from meridian.core.ports import PortSpec",
        "from meridian.core.scheduler import Scheduler",
        "from meridian.core.subgraph import Subgraph",
        "from meridian.utils.validation import validate_graph",
        "",
        "",
        f"class {class_name}(Subgraph):",
        '    """Say here what it does, and what its exposed ports carry."""',
        "",
        not_a_test if class_name.startswith("Test") else [],
        f'    def __init__(self, name: str = "{name}") -> None:',
        "        super().__init__(name=name)",
        "        # What the exposed ports carry, by name.",
        "        self.port_specs: dict[str, PortSpec] = {}",
        "        self._setup_nodes()",
        "        self._setup_connections()",
        "        self._setup_exposed_ports()",
        "",
        "    def _setup_nodes(self) -> None:",
        '        """Add the nodes."""',
        '        # self.add_node(Reader("reader"))',
        '        # self.add_node(Writer("writer"))',
        "",
        "    def _setup_connections(self) -> None:",
        '        """Connect outputs to inputs."""',
        '        # self.connect(("reader", "out"), ("writer", "in"), capacity=64)',
        "",
        "    def _setup_exposed_ports(self) -> None:",
        '        """Name the ports that other graphs may connect to."""',
        '        # self.expose_input("requests", ("reader", "in"))',
        '        # self.expose_output("answers", ("writer", "out"))',
        '        # self.port_specs["requests"] = PortSpec(name="requests", schema=dict)',
        "",
        "    def validate_composition(self) -> None:",
        '        """Raise ValueError if it can\'t run; show warnings."""',
        "        issues = validate_graph(self)",
        "        errors = [issue for issue in issues if issue.is_error()]",
        "        for issue in issues:",
        "            if issue.is_warning():",
        '                print(f"warning: {issue.message}")',
        "        if errors:",
        '            raise ValueError("; ".join(issue.message for issue in errors))',
        "",
        "",
        'if __name__ == "__main__":',
        f"    subgraph = {class_name}()",
        "    subgraph.validate_composition()",
        "    scheduler = Scheduler()",
        "    scheduler.register(subgraph)",
        "    scheduler.run()",
    )


def generate_subgraph_test_template(class_name: str) -> str:
    """Return the source text of a test of a generated subgraph that stands beside it.

    Args:
        class_name: Of the subgraph.

    Raises:
        ValueError: the name can't be used.
    """
    return subgraph_test(class_name, snake_case(class_name))


def subgraph_test(class_name: str, module: str, *, is_own: bool = False) -> str:
    """Return the source text of a test of the subgraph in ``module``; see `module_under_test`."""
    check_class_name(class_name, _IMPORTED)
    return source(
        f'"""The subgraph {class_name}: its parts fit, and it runs."""',
        "# mypy: allow-untyped-defs, allow-untyped-calls",
        "",
        "import pytest",
        module_under_test(
            "from meridian.core.scheduler import Scheduler, SchedulerConfig", module, class_name, is_own
        ),
        "",
        "",
        f"class Test{class_name}:",
        "    @pytest.fixture",
        "    def subgraph(self):",
        f"        return {class_name}()",
        "",
        "    def test_subgraph_creation(self, subgraph):",
        f"        assert isinstance(subgraph, {class_name})",
        f'        assert subgraph.name == "{snake_case(class_name)}"',
        "",
        "    def test_subgraph_validation(self, subgraph):",
        "        try:",
        "            subgraph.validate_composition()",
        "        except ValueError:",
        '            pytest.fail(f"it can\'t run: {subgraph.validate()}")',
        "",
        "    def test_node_composition(self, subgraph):",
        "        assert subgraph.node_names() == list(subgraph.nodes)",
        "",
        "    def test_edge_connections(self, subgraph):",
        "        for edge in subgraph.edges:",
        "            assert edge.source_node in subgraph.nodes",
        "            assert edge.target_node in subgraph.nodes",
        "",
        "    def test_port_exposure(self, subgraph):",
        "        exposed = {**subgraph.exposed_inputs, **subgraph.exposed_outputs}",
        "        for node, _ in exposed.values():",
        "            assert node in subgraph.nodes",
        "        assert set(subgraph.port_specs) <= set(exposed)",
        "",
        "    def test_a_run_comes_to_its_end(self, subgraph):",
        "        scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.1))",
        "        scheduler.register(subgraph)",
        "        scheduler.run()",
        "        assert not scheduler.is_running()",
    )
