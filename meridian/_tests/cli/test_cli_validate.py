"""``meridian validate``: every issue, without running anything."""

import inspect
import json
import re

import pytest

import meridian as package
from meridian.core.issues import FIXES
from meridian.runtime import validate as validate_module

pytestmark = pytest.mark.req("N1.3", "N1.4")

GRAPHS = """
from meridian import Node, graph, sink, source

print("the target prints")

def ran():
    raise SystemExit("the source ran")

def good(): return graph("good", source(ran, type=int) >> sink(print))

def bad():
    made = graph("bad", source([1]) >> sink(print))
    made.add_node(Node("source"))
    made.edges[0].target_node = "nobody"
    return made

def cyclic():
    a, b = Node.with_ports("a", ["i"], ["o"]), Node.with_ports("b", ["i"], ["o"])
    return graph("cyclic", a >> b >> a)
"""


def test_a_valid_graph_is_counted_and_not_run(write, meridian):
    write("app.py", GRAPHS)
    ran = meridian("validate", "app:good")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "the target prints\nvalid: 2 nodes, 1 edge\n", "")


def test_every_issue_has_place_level_code_message_and_fix(write, meridian):
    write("app.py", GRAPHS)
    ran = meridian("validate", "app:bad")
    lines = ran.stdout.splitlines()
    assert ran.exit_code == 1
    assert lines[1].startswith("error DUP_NODE: two nodes are named 'source'")
    assert lines[2] == f"    {FIXES['DUP_NODE']}"
    assert lines[3].startswith("app.py:12: error UNKNOWN_NODE: edge source:output->nobody:input names node")
    assert lines[4:] == [f"    {FIXES['UNKNOWN_NODE']}", "invalid: 2 errors"]


def test_edges_of_nested_graphs_have_their_lines_too(write, meridian):
    write(
        "app.py",
        "from meridian import Subgraph, graph, sink, source\n"
        "inner = graph('inner', source([1]) >> sink(print))\n"
        "inner.edges[0].capacity = 0\n"
        "outer = Subgraph('outer')\n"
        "outer.add_node(inner)\n",
    )
    ran = meridian("validate", "app:outer")
    assert ran.stdout.startswith(
        "app.py:2: error BAD_CAP: edge inner/source:output->print:input has capacity 0"
    )


def test_warnings_fail_if_strict(write, meridian):
    write("app.py", GRAPHS)
    assert meridian("validate", "app:cyclic", "--strict").exit_code == 1
    assert meridian("validate", "app:good", "--strict").exit_code == 0


def test_every_code_there_is_has_a_fix():
    used = set(re.findall(r'"([A-Z]+_[A-Z_]+|CYCLE)"', inspect.getsource(validate_module)))
    assert used == set(FIXES)


def test_warnings_do_not_fail(write, meridian):
    write("app.py", GRAPHS)
    ran = meridian("validate", "app:cyclic")
    assert ran.exit_code == 0
    assert ran.stdout.splitlines()[1].startswith("warning CYCLE: nodes feed each other: a -> b -> a")
    assert ran.stdout.splitlines()[3:] == ["valid: 2 nodes, 2 edges, 1 warning"]


@pytest.mark.parametrize(
    ("target", "valid", "codes"),
    [
        ("app:good", True, []),
        ("app:bad", False, [("error", "DUP_NODE"), ("error", "UNKNOWN_NODE")]),
        ("app:cyclic", True, [("warning", "CYCLE")]),
    ],
)
def test_json_is_one_object_also_where_the_target_prints(write, meridian, target, valid, codes):
    write("app.py", GRAPHS)
    ran = meridian("validate", target, "--json")
    said = json.loads(ran.stdout)
    assert ran.exit_code == (0 if valid else 1)
    assert (said["target"], said["version"], said["valid"]) == (target, package.__version__, valid)
    assert [(issue["level"], issue["code"]) for issue in said["issues"]] == codes
    assert all(issue["fix"] == FIXES[issue["code"]] for issue in said["issues"])
    assert [
        (issue["file"], issue["line"]) for issue in said["issues"] if issue["code"] == "UNKNOWN_NODE"
    ] == ([("app.py", 12)] if target == "app:bad" else [])
    assert ran.stderr == "the target prints\n"
