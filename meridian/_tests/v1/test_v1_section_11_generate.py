"""Files that are generated, and the two module commands."""

import io
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meridian.scaffolding import create_node_files, create_subgraph_files, parse_ports
from meridian.scaffolding.generate_node import main as generate_node
from meridian.scaffolding.generate_subgraph import main as generate_subgraph

pytestmark = pytest.mark.req("V1", "N1.4")


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))


# ---- files ---------------------------------------------------------------------------------------------------------


def test_a_node_goes_to_its_package_and_every_package_gets_an_init(project, load, capsys):
    assert create_node_files("OrderFilter", "shop.nodes", {"a": "int"}, {}, "src") is True
    assert files(project) == [
        "src/shop/__init__.py",
        "src/shop/nodes/__init__.py",
        "src/shop/nodes/order_filter.py",
    ]
    assert load(project / "src/shop/nodes/order_filter.py").OrderFilter().name == "order_filter"
    assert capsys.readouterr().out == f"Created node: {Path('src/shop/nodes/order_filter.py')}\n"


def test_a_test_goes_beside_the_base_folder_with_what_lets_it_import_the_node(project, capsys):
    assert create_node_files("OrderFilter", "nodes", {}, {}, str(project / "src"), include_tests=True) is True
    assert files(project / "tests") == ["conftest.py", "unit/__init__.py", "unit/test_order_filter.py"]
    assert f"Created test: {project / 'tests/unit/test_order_filter.py'}\n" in capsys.readouterr().out


def test_a_subgraph_and_its_integration_test_are_written(project, capsys):
    assert create_subgraph_files("OrderFlow", "flows", project / "src", include_tests=True) is True
    assert files(project) == [
        "src/flows/__init__.py", "src/flows/order_flow.py", "tests/conftest.py",
        "tests/integration/__init__.py",
        "tests/integration/test_order_flow.py",
    ]  # fmt: skip
    assert capsys.readouterr().out.startswith("Created subgraph: ")


def test_a_node_and_a_subgraph_of_one_name_are_tested_side_by_side(project, python):
    assert create_node_files("Orders", "nodes", {}, {}, "src", include_tests=True)
    assert create_subgraph_files("Orders", "flows", "src", include_tests=True)
    assert "10 passed" in python("-m", "pytest", "-q", "tests")


def test_a_folder_of_tests_that_is_there_does_not_become_a_package(project):
    (project / "tests/unit").mkdir(parents=True)
    assert create_node_files("Orders", "nodes", {}, {}, "src", include_tests=True)
    assert files(project / "tests") == ["conftest.py", "unit/test_orders.py"]


def test_files_that_are_there_stay_as_they_are(project):
    for path in ("src/nodes/__init__.py", "tests/conftest.py"):
        (project / path).parent.mkdir(parents=True)
        (project / path).write_text("# mine\n", encoding="utf-8")
    assert create_node_files("OrderFilter", "nodes", {}, {}, "src", include_tests=True, force=True)
    assert (project / "src/nodes/__init__.py").read_text(encoding="utf-8") == "# mine\n"
    assert (project / "tests/conftest.py").read_text(encoding="utf-8") == "# mine\n"


def test_a_node_that_is_there_is_only_replaced_by_force(project, capsys):
    assert create_node_files("OrderFilter", "nodes", {}, {}, "src")
    path = project / "src/nodes/order_filter.py"
    path.write_text("# mine\n", encoding="utf-8")
    capsys.readouterr()
    assert create_node_files("OrderFilter", "nodes", {}, {}, "src", include_tests=True) is False
    said = capsys.readouterr().out
    assert said.startswith("Error: ")
    assert "already exists" in said
    assert path.read_text(encoding="utf-8") == "# mine\n"
    assert not (project / "tests").exists(), "nothing is written where something is in the way"
    assert create_node_files("OrderFilter", "nodes", {}, {}, "src", force=True) is True
    assert "class OrderFilter" in path.read_text(encoding="utf-8")


def test_a_test_that_is_there_is_in_the_way_as_well(project, capsys):
    assert create_node_files("OrderFilter", "nodes", {}, {}, "src", include_tests=True)
    (project / "src/nodes/order_filter.py").unlink()
    assert create_node_files("OrderFilter", "nodes", {}, {}, "src", include_tests=True) is False
    assert not (project / "src/nodes/order_filter.py").exists()


@pytest.mark.parametrize(
    ("name", "package", "inputs", "policy"),
    [
        ("order", "nodes", {}, None),
        ("", "nodes", {}, None),
        ("Class", "nodes", {}, None),
        ("OrderFilter", "../outside", {}, None),
        ("OrderFilter", "/outside", {}, None),
        ("OrderFilter", "class", {}, None),
        ("OrderFilter", "", {}, None),
        ("OrderFilter", "nodes", {"a": "Order"}, None),
        ("OrderFilter", "nodes", {}, "lossy"),
    ],
)
def test_bad_input_is_said_and_nothing_is_written(project, capsys, name, package, inputs, policy):
    assert create_node_files(name, package, inputs, {}, "src", include_tests=True, policy=policy) is False
    assert capsys.readouterr().out.startswith("Error: ")
    assert list(project.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "package"), [("flow", "flows"), ("OrderFlow", "a/b"), ("Subgraph", "flows")]
)
def test_bad_input_for_a_subgraph_is_said_and_nothing_is_written(project, capsys, name, package):
    assert create_subgraph_files(name, package, "src") is False
    assert capsys.readouterr().out.startswith("Error: ")
    assert list(project.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(project, capsys):
    (project / "src").write_text("a file\n", encoding="utf-8")
    assert create_node_files("OrderFilter", "nodes", {}, {}, "src") is False
    said = capsys.readouterr().out
    assert said.startswith("Error: can't write src")
    assert said.count("\n") == 1


HOSTILE = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="ABab./\\~:\0\n'\"[]() #é\ud800", max_size=12),
    st.sampled_from(
        ["OrderFilter", "nodes", "int", "list[int]", "..", "/", "Literal['\ud800']", 'Literal[\'"""\']']
    ),
)


@given(name=HOSTILE, package=HOSTILE, port=HOSTILE, type_=HOSTILE)
@example(name="OrderFilter", package="nodes", port="a", type_="Literal['\ud800']")
@example(name="OrderFilter", package="nodes", port="a", type_='Literal[\'"""\']')
@example(name="OrderFilter", package="nodes", port="größe", type_="int")
def test_whatever_is_given_is_refused_or_becomes_a_module_below_the_folder(name, package, port, type_):
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()) as said:
        base = Path(folder, "deep", "src")
        try:
            ports = parse_ports(f"{port}:{type_}")
        except ValueError:
            ports = {"a": type_}
        written = create_node_files(name, package, ports, {}, base, include_tests=True)
        made = [path for path in Path(folder).rglob("*") if path.is_file()]
        assert said.getvalue().startswith("Created node: " if written else "Error: ")
        assert bool(made) == written
        for path in made:
            assert path.is_relative_to(base) or path.is_relative_to(base.parent / "tests")
            compile(path.read_text(encoding="utf-8"), str(path), "exec")


# ---- commands ------------------------------------------------------------------------------------------------------


def test_the_node_command_says_what_it_did(project, python):
    said = python("-m", "meridian.scaffolding.generate_node", "--name", "OrderFilter", "--inputs",
                  "a:int,b:dict[str, int]", "--outputs", "out:str", "--policy", "latest", "--include-tests")  # fmt: skip
    assert said.splitlines() == [
        f"Created node: {Path('src/meridian-runtime/nodes/order_filter.py')}",
        f"Created test: {project / 'src/tests/unit/test_order_filter.py'}",
        "Generated: nodes.order_filter.OrderFilter",
        "Successfully generated node OrderFilter",
    ]
    assert "passed" in python("-m", "pytest", "-q", "src/tests")


def test_the_subgraph_command_says_what_it_did_and_what_it_made_runs_as_it_is(project, python):
    said = python("-m", "meridian.scaffolding.generate_subgraph", "--name", "OrderFlow", "--dir", "src")
    assert said.splitlines() == [
        f"Created subgraph: {Path('src/subgraphs/order_flow.py')}",
        "Generated: subgraphs.order_flow.OrderFlow",
        "Successfully generated subgraph OrderFlow",
    ]
    python("src/subgraphs/order_flow.py")


@pytest.mark.parametrize(
    ("main", "args", "said"),
    [
        (generate_node, ("--name", "order"), "'order' is not a PascalCase identifier"),
        (generate_node, ("--name", "X", "--inputs", "a"), "Invalid port definition 'a'"),
        (generate_node, ("--name", "X", "--outputs", "a:int,a:int"), "there is a port 'a' already"),
        (generate_node, ("--name", "X", "--inputs", "a:Order"), "unknown type 'Order'"),
        (generate_node, ("--name", "X", "--package", "../x"), "package '../x'"),
        (generate_node, ("--name", "X", "--policy", "lossy"), "policy 'lossy'"),
        (generate_subgraph, ("--name", "Order_Flow"), "'Order_Flow' is not a PascalCase identifier"),
        (generate_subgraph, ("--name", "Flow", "--package", "class"), "'class' is a keyword"),
    ],
)
def test_a_command_that_cannot_generate_says_why_on_stdout_and_exits_with_1(
    project, capsys, main, args, said
):
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert out.startswith("Error: ")
    assert said in out
    assert list(project.iterdir()) == []


@pytest.mark.parametrize("main", [generate_node, generate_subgraph])
def test_a_second_time_needs_force(project, capsys, main):
    main(["--name", "OrderFilter"])
    with pytest.raises(SystemExit):
        main(["--name", "OrderFilter"])
    assert "already exists" in capsys.readouterr().out
    main(["--name", "OrderFilter", "--force"])
    assert "Successfully generated" in capsys.readouterr().out
