"""Several targets and folders, as ``meridian lint`` and ``meridian validate`` take them."""

import json

import pytest

pytestmark = pytest.mark.req("N1.3", "N1.4")

CLEAN = """
from meridian import graph, sink, source
def build(): return graph("clean", source([1]) >> sink(print))
"""
LOSSY = """
import sys
from meridian import drop, graph, sink, source, via
def build():
    print("with", sys.argv[1:])
    return graph("lossy", source([1]) >> via(policy=drop()) >> sink(print, name="store"))
"""
INVALID = """
from meridian import graph, sink, source
def build():
    made = graph("invalid", source([1]) >> sink(print))
    made.edges[0].source_node = "nobody"
    return made
"""
SIBLING = """
from meridian import graph, sink, source
from parts.names import name
def build(): return graph("siblings", source([1]) >> sink(print, name=name))
"""


@pytest.fixture
def files(write):
    write("clean.py", CLEAN)
    write("flows/lossy.py", LOSSY)
    write("flows/deep/invalid.py", INVALID)
    write("flows/other.py", "raise SystemExit('no graph is defined here')")
    write("flows/script.py", "def build(session): raise SystemExit('nor here')")
    write("flows/.hidden/clean.py", CLEAN)
    write("flows/env/pyvenv.cfg", "")
    write("flows/env/clean.py", CLEAN)


def test_every_target_is_linted(files, meridian):
    ran = meridian("lint", "clean.py", "flows/lossy.py", "--strict", "--", "a", "b")
    assert ran.exit_code == 1
    lines = ran.stdout.splitlines()
    assert lines[0] == "with ['a', 'b']"
    assert lines[1].startswith("flows/lossy.py:6: warning lossy-durable: ")
    assert lines[3:] == ["1 warning in 2 targets", "why: meridian lint --explain lossy-durable"]
    assert meridian("lint", "clean.py", "clean.py:build").stdout == "clean in 2 targets\n"


def test_a_folder_stands_for_the_files_in_it_that_define_a_graph(files, meridian):
    ran = meridian("lint", "flows", "clean.py", "--json")
    said = json.loads(ran.stdout)
    assert ran.exit_code == 1
    assert said["targets"] == ["flows/lossy.py", "flows/deep/invalid.py", "clean.py"]
    assert (said["clean"], said["errors"], said["warnings"], said["not_loaded"]) == (False, 1, 1, [])
    assert [(each["target"], each["rule"]) for each in said["lints"]] == [
        ("flows/lossy.py", "lossy-durable"),
        ("flows/deep/invalid.py", "invalid-graph"),
    ]


def test_a_folder_with_one_graph_is_as_that_file(files, meridian):
    assert json.loads(meridian("lint", "flows/deep", "--json").stdout)["target"] == "flows/deep/invalid.py"


def test_a_package_that_defines_a_graph_is_meant_itself(write, meridian):
    write("shop/__init__.py", CLEAN)
    write("shop/more.py", INVALID)
    assert meridian("validate", "shop").stdout == "valid: 2 nodes, 1 edge\n"
    assert meridian("validate", "shop/").stdout.splitlines()[0] == "shop/__init__.py: valid: 2 nodes, 1 edge"


def test_a_folder_without_a_graph_is_a_wrong_command_line(write, meridian):
    write("plain/notes.py", "x = 1\n")
    ran = meridian("lint", "plain")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("Error: 'plain' is a folder, and no file in it defines build or graph: name")


def test_a_file_that_is_no_python_is_not_passed_over(files, write, meridian):
    write("flows/deep/typo.py", "def build(:\n")
    ran = meridian("validate", "flows/deep")
    assert ran.exit_code == 2
    assert "importing 'flows/deep/typo.py' raised SyntaxError" in ran.stderr
    assert "flows/deep/invalid.py: invalid: 1 error" in ran.stdout


def test_one_that_cannot_be_loaded_does_not_hide_what_others_have(files, write, meridian):
    write("broken.py", "import nothing_of_this_name\n")
    ran = meridian("lint", "broken.py", "flows/lossy.py")
    assert ran.exit_code == 2
    assert "importing 'broken.py' raised ModuleNotFoundError" in ran.stderr
    assert "1 warning in 1 target, 1 not loaded" in ran.stdout
    said = json.loads(meridian("lint", "broken.py", "clean.py", "--json").stdout)
    assert (said["clean"], said["targets"]) == (False, ["clean.py"])
    assert said["not_loaded"][0]["target"] == "broken.py"
    assert said["not_loaded"][0]["error"].startswith("importing 'broken.py' raised")


def test_each_target_imports_its_own_siblings(write, meridian):
    for folder in ("one", "two"):
        write(f"{folder}/app.py", SIBLING)
        write(f"{folder}/parts/__init__.py", "")
        write(f"{folder}/parts/names.py", f"name = 'sink-of-{folder}'\nprint(name)\n")
    ran = meridian("validate", "one/app.py", "two/app.py", "app_of_one.py")
    assert ran.stdout.splitlines() == [
        "sink-of-one",
        "sink-of-two",
        "one/app.py: valid: 2 nodes, 1 edge",
        "two/app.py: valid: 2 nodes, 1 edge",
    ]
    assert "there is no file 'app_of_one.py'" in ran.stderr


def test_every_target_is_validated(files, meridian):
    ran = meridian("validate", "clean.py", "flows/deep/invalid.py")
    assert ran.exit_code == 1
    lines = ran.stdout.splitlines()
    assert lines[0] == "clean.py: valid: 2 nodes, 1 edge"
    assert lines[1].startswith("flows/deep/invalid.py:4: error UNKNOWN_NODE: ")
    assert lines[3] == "flows/deep/invalid.py: invalid: 1 error"
    said = json.loads(meridian("validate", "clean.py", "flows", "--json").stdout)
    assert said["targets"] == ["clean.py", "flows/lossy.py", "flows/deep/invalid.py"]
    assert (said["valid"], [each["target"] for each in said["issues"]]) == (False, ["flows/deep/invalid.py"])
