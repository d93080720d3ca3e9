"""``meridian validate``: every issue, without running anything."""

import json

import pytest

import meridian as package

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


def test_every_issue_has_level_code_and_message(write, meridian):
    write("app.py", GRAPHS)
    ran = meridian("validate", "app:bad")
    lines = ran.stdout.splitlines()
    assert ran.exit_code == 1
    assert [line.partition(":")[0] for line in lines[1:3]] == ["error DUP_NODE", "error UNKNOWN_NODE"]
    assert lines[3:] == ["invalid: 2 errors"]


def test_warnings_do_not_fail(write, meridian):
    write("app.py", GRAPHS)
    ran = meridian("validate", "app:cyclic")
    assert ran.exit_code == 0
    assert ran.stdout.splitlines()[1].startswith("warning CYCLE: nodes feed each other: a -> b -> a")
    assert ran.stdout.splitlines()[2:] == ["valid: 2 nodes, 2 edges, 1 warning"]


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
    assert ran.stderr == "the target prints\n"
