"""``meridian schema``: a graph as it was declared, and published schemas."""

import json
import os

import jsonschema
import pytest

from meridian.cli.schema import PUBLISHED

pytestmark = pytest.mark.req("N1.4")

APP = """
from meridian import graph, node, sink, source

print("printed while it is loaded")

@node
def double(x: int) -> int:
    return 2 * x

def build():
    return graph("demo", source(["canary-8f1d3e52"], name="read") >> double >> sink(print, name="write"))

def invalid():
    made = build()
    made.edges[0].source_node = "nobody"
    return made
"""


@pytest.mark.req("N7", "X2")
def test_a_graph_is_written_as_json_that_fits_the_published_schema(write, meridian):
    write("app.py", APP)
    ran = meridian("schema", "export", "app.py")
    made = json.loads(ran.stdout)
    schema = json.loads(meridian("schema", "show", "graph").stdout)
    jsonschema.Draft202012Validator(schema).validate(made)
    assert (ran.exit_code, [each["name"] for each in made["nodes"]]) == (0, ["read", "double", "write"])
    assert made["edges"][0]["schema"] == {"type": "integer"}
    assert ran.stdout.startswith('{\n  "kind": "graph"'), "lines, for diff"
    assert "canary" not in ran.output
    assert ran.stderr == "printed while it is loaded\n"


def test_it_is_the_same_each_time_on_one_line_and_in_a_file(write, meridian, folder):
    write("app.py", APP)
    whole = meridian("schema", "export", "app.py:build").stdout
    line = meridian("schema", "export", "app.py", "--json").stdout
    assert line.count("\n") == 1
    assert json.loads(line) == json.loads(whole)
    ran = meridian("schema", "export", "app.py", "--out", "graph.json")
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert (folder / "graph.json").read_text(encoding="utf-8") == whole


def test_an_invalid_graph_is_refused_with_its_issues(write, meridian):
    write("app.py", APP)
    ran = meridian("schema", "export", "app.py:invalid")
    said = json.loads(ran.stdout)
    assert (ran.exit_code, [issue["code"] for issue in said["issues"]]) == (1, ["UNKNOWN_NODE"])
    assert "the graph is invalid, see meridian validate: UNKNOWN_NODE" in ran.stderr


@pytest.mark.parametrize("file", [".", "no/such/folder/graph.json"])
def test_a_file_that_cannot_be_written_is_a_failure(write, meridian, file):
    write("app.py", APP)
    ran = meridian("schema", "export", "app.py", "--out", file)
    assert ran.exit_code == 1
    assert f"can't write {os.fspath(file)!r}" in ran.stderr


def test_every_published_schema_can_be_shown_and_is_one(meridian):
    for name, make in PUBLISHED.items():
        ran = meridian("schema", "show", name)
        assert (ran.exit_code, json.loads(ran.stdout)) == (0, make())
        jsonschema.Draft202012Validator.check_schema(make())


@pytest.mark.parametrize(
    ("name", "said"), [("grahp", "did you mean 'graph'?"), ("zzz", "there are snapshot, profile")]
)
def test_a_schema_that_is_not_there_is_said_with_those_that_are(meridian, name, said):
    ran = meridian("schema", "show", name)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert said in ran.stderr


def test_names_of_schemas_are_completed():
    from meridian.cli.complete import complete_schema

    assert complete_schema("s") == ["snapshot"]
