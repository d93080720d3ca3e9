"""``meridian nodes``: the catalogue in words, as JSON, and as JSON Schema."""

import json

import jsonschema
import pytest

from meridian.cli.complete import complete_node
from meridian.nodes.catalogue import catalogue, find, schema

pytestmark = pytest.mark.req("N1.4", "V11")


def test_every_node_has_a_line(meridian):
    lines = meridian("nodes").stdout.splitlines()
    assert lines[0].split() == ["Node", "Category", "What", "it", "does"]
    assert [line.split()[0] for line in lines[1:]] == [entry.name for entry in catalogue()]


def test_one_node_is_shown_with_ports_parameters_and_an_example(meridian):
    ran = meridian("nodes", "retrynode")
    lines = ran.stdout.splitlines()
    assert ran.exit_code == 0
    assert lines[0] == "RetryNode (meridian.nodes.flow_control)"
    assert "Inputs   input" in lines
    (line,) = (line for line in lines if line.startswith("max_retries"))
    assert line.split()[:3] == ["max_retries", "int", "3"]
    assert find("RetryNode").example.splitlines()[0] in lines
    assert "`" not in ran.stdout.partition("Example")[0]


def test_ports_that_a_parameter_lists_are_said_so(meridian):
    assert "Outputs  those in output_ports" in meridian("nodes", "Router").stdout.splitlines()
    assert "Inputs   none" in meridian("nodes", "DataProducer").stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("breaker", "CircuitBreakerNode"),
        ("throttle", "ThrottleNode"),
        ("Lines FILE", "FileReaderNode"),
        ("window", "WindowNode"),
        ("network", "HttpClientNode"),
        ("coroutine", "AsyncWorker"),
    ],
)
def test_nodes_are_found_by_what_they_are_about(meridian, words, first):
    lines = meridian("nodes", "--search", words).stdout.splitlines()
    assert lines[1].split()[0] == first
    assert 1 < len(lines) < len(catalogue())
    said = json.loads(meridian("nodes", "--search", words, "--json").stdout)
    assert [each["name"] for each in said["nodes"]] == [line.split()[0] for line in lines[1:]]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--search", "teapot"], "no node is about 'teapot': try fewer words, or a category: producers, "),
        (["CacheNode", "--search", "cache"], "leave NAME and --schema out"),
        (["--schema", "--search", "cache"], "leave NAME and --schema out"),
    ],
)
def test_a_search_that_finds_nothing_or_asks_for_one_node_exits_2(meridian, args, said):
    ran = meridian("nodes", *args)
    assert ran.exit_code == 2
    assert said in " ".join(ran.stderr.split())


def test_all_nodes_as_one_json_object(meridian):
    said = json.loads(meridian("nodes", "--json").stdout)
    assert [each["name"] for each in said["nodes"]] == [entry.name for entry in catalogue()]


def test_one_node_as_one_json_object(meridian):
    said = json.loads(meridian("nodes", "Batch", "--json").stdout)
    assert said.pop("version")
    assert said == json.loads(json.dumps(find("Batch").as_dict()))


def test_the_schema_of_one_node_is_a_document_of_its_own(meridian):
    said = json.loads(meridian("nodes", "Batch", "--schema").stdout)
    assert said == schema(find("Batch"))
    jsonschema.Draft202012Validator.check_schema(said)


def test_the_schemas_of_all_nodes_are_one_document(meridian):
    said = json.loads(meridian("nodes", "--schema").stdout)
    jsonschema.Draft202012Validator.check_schema(said)
    one = {"$ref": "#/$defs/Batch", **said}
    jsonschema.validate({"name": "b", "size": 2}, one, cls=jsonschema.Draft202012Validator)


def test_an_unknown_node_is_a_wrong_command_line_with_a_hint(meridian):
    ran = meridian("nodes", "CashNode")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "there is no node 'CashNode': did you mean CacheNode" in ran.stderr
    assert "there is no node 'zzz'\n" in meridian("nodes", "zzz").stderr
    assert json.loads(meridian("nodes", "zzz", "--json").stdout)["error"] == "there is no node 'zzz'"


def test_two_kinds_of_answer_are_one_too_many(meridian):
    ran = meridian("nodes", "--json", "--schema")
    assert ran.exit_code == 2
    assert "give one of them" in ran.stderr


def test_the_help_has_an_example(meridian):
    assert (
        "Example: meridian nodes --search window, meridian nodes WindowNode"
        in meridian("nodes", "--help").stdout
    )


def test_names_are_completed_whatever_their_capitals():
    assert complete_node("data") == ["DataProducer", "DataConsumer"]
    assert complete_node("Zz") == []
