"""``meridian scaffold``: what is written, and what the exit code says where nothing is."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.req("N1.4")


def test_a_node_is_written_and_every_file_is_named(meridian, folder):
    ran = meridian("scaffold", "node", "OrderFilter", "--inputs", "a:int,b:dict[str, int]", "--outputs", "out:str",
                   "--policy", "latest", "--tests")  # fmt: skip
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "Created node: src/nodes/order_filter.py",
        "Created test: tests/unit/test_order_filter.py",
        "Created: src/nodes/__init__.py",
        "Created: tests/conftest.py",
        "Created: tests/unit/__init__.py",
    ]
    text = (folder / "src/nodes/order_filter.py").read_text(encoding="utf-8")
    assert '"b": PortSpec(name="b", schema=dict[str, int])' in text
    assert "Default overflow policy is latest" in text


def test_the_tests_of_what_is_written_pass(meridian, folder):
    meridian("scaffold", "node", "OrderFilter", "--inputs", "a:int", "--tests")
    meridian("scaffold", "subgraph", "OrderFlow", "--tests")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "tests"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout


def test_what_was_written_as_one_json_object(meridian, folder):
    ran = meridian("scaffold", "subgraph", "OrderFlow", "--package", "shop.flows", "--dir", "lib", "--json")
    said = json.loads(ran.stdout)
    said.pop("version")
    assert said == {
        "kind": "subgraph",
        "name": "OrderFlow",
        "module": "shop.flows.order_flow",
        "path": "lib/shop/flows/order_flow.py",
        "test": None,
        "further": ["lib/shop/__init__.py", "lib/shop/flows/__init__.py"],
    }
    assert all((folder / path).is_file() for path in (said["path"], *said["further"]))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("node", "order"), "'order' is not a PascalCase identifier"),
        (("node", "Class"), "no module can be called 'class'"),
        (("node", "X", "--inputs", "a"), "Invalid port definition 'a'"),
        (("node", "X", "--inputs", "a:int,a:str"), "there is a port 'a' already"),
        (("node", "X", "--outputs", "a:Order"), "port 'a': unknown type 'Order'"),
        (("node", "X", "--package", "../outside"), "package '../outside'"),
        (("node", "X", "--policy", "lossy"), "policy 'lossy': use block, drop, latest, coalesce"),
        (("subgraph", "order"), "'order' is not a PascalCase identifier"),
        (("subgraph", "X", "--package", ""), "package ''"),
    ],
)
def test_what_cannot_be_meant_is_a_wrong_command_line_and_nothing_is_written(meridian, folder, args, said):
    before = sorted(folder.rglob("*"))
    ran = meridian("scaffold", *args)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert sorted(folder.rglob("*")) == before


def test_an_error_is_a_json_object_as_well(meridian):
    ran = meridian("scaffold", "node", "order", "--json")
    assert ran.exit_code == 2
    assert "PascalCase" in json.loads(ran.stdout)["error"]


def test_a_file_that_is_there_is_a_failure_unless_it_may_be_replaced(meridian, folder):
    assert meridian("scaffold", "node", "OrderFilter").exit_code == 0
    (folder / "src/nodes/order_filter.py").write_text("# mine\n", encoding="utf-8")
    ran = meridian("scaffold", "node", "OrderFilter")
    assert ran.exit_code == 1
    assert (
        "src/nodes/order_filter.py already exists: give another name, or --force to replace it" in ran.stderr
    )
    assert (folder / "src/nodes/order_filter.py").read_text(encoding="utf-8") == "# mine\n"
    assert meridian("scaffold", "node", "OrderFilter", "--force").exit_code == 0


def test_a_folder_that_cannot_be_written_to_is_a_failure(meridian, folder):
    (folder / "src").write_text("a file\n", encoding="utf-8")
    ran = meridian("scaffold", "node", "OrderFilter")
    assert ran.exit_code == 1
    assert "Error: can't write src" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("kind", ["node", "subgraph"])
def test_the_help_has_an_example_and_keeps_its_brackets(meridian, kind):
    ran = meridian("scaffold", kind, "--help")
    assert ran.exit_code == 0
    assert f"Example: meridian scaffold {kind}" in ran.stdout
