"""``meridian compare``: two files in, what changed out, and an exit code for CI."""

import json

import jsonschema
import pytest

from meridian.cli import compare as compare_module
from meridian.introspect.schema import comparison_schema

pytestmark = pytest.mark.req("N1.4", "N7")

APP = """
from meridian import drop, graph, sink, source, via

def build(capacity):
    edge = via(capacity=capacity, policy=drop())
    return graph("g", source(["canary-77be0d19"] * 100, name="read") >> edge >> sink(str, name="out"))

def before(): return build(100)
def after(): return build(1)

def renamed():
    made = graph("g", source([1], name="read") >> sink(str, name="other"))
    return made
"""


@pytest.fixture
def files(write, meridian):
    write("app.py", APP)
    for name in ("before", "after", "renamed"):
        write(f"{name}.json", meridian("run", f"app.py:{name}", "--json").stdout)


@pytest.mark.usefixtures("files")
def test_losses_come_first_and_the_limit_decides_the_exit_code(meridian):
    ran = meridian("compare", "before.json", "after.json", "--metric", "lost")
    assert ran.exit_code == 0
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("A  before.json: report of ")
    (lost,) = [line for line in lines if line.startswith("lost.dropped")]
    assert lost.split()[1:4] == ["read:output->out:input", "0", "%"]
    assert lost.endswith("from nothing  worse")
    ran = meridian("compare", "before.json", "after.json", "--metric", "lost", "--fail-over", "50%")
    assert ran.exit_code == 1
    assert ran.stdout.splitlines()[-1] == "failed: 2 got worse by more than 50 %"
    ran = meridian("compare", "before.json", "before.json", "--fail-over", "0%")
    assert (ran.exit_code, ran.stdout.splitlines()[-2:]) == (
        0,
        ["nothing changed", "nothing got worse by more than 0 %"],
    )


@pytest.mark.usefixtures("files")
def test_json_is_one_object_that_fits_the_published_schema(meridian):
    ran = meridian("compare", "before.json", "after.json", "--json", "--fail-over", "10")
    made = json.loads(ran.stdout)
    jsonschema.Draft202012Validator(comparison_schema()).validate(made)
    assert (ran.exit_code, made["passed"], made["limit"]) == (1, False, 0.1)
    assert made["changes"][0]["metric"] == "lost"
    assert "canary" not in ran.output


@pytest.mark.usefixtures("files")
def test_what_is_gone_and_new_is_named(meridian):
    ran = meridian("compare", "before.json", "renamed.json", "--fail-over", "1000000%", "--metric", "errors")
    assert ran.exit_code == 1
    assert "gone: out, read:output->out:input\nnew: other, read:output->other:input\n" in ran.stdout
    assert ran.stdout.endswith(", 2 gone\n")


def test_a_change_of_next_to_nothing_is_the_same_in_words_in_json_and_for_the_exit_code(write, meridian):
    def report(seconds):
        node = {"name": "spin", "handled": 1000, "produced": 0, "errors": 0, "busy_s": seconds}
        return json.dumps(
            {"status": "stopped", "elapsed_s": 10.0, "engine": "python", "nodes": [node], "edges": []}
        )

    write("a.json", report(1.0))
    write("b.json", report(1.002))
    said = ("compare", "a.json", "b.json", "--metric", "per_message_s")
    ran = meridian(*said, "--fail-over", "10%")
    assert (ran.exit_code, ran.stdout.splitlines()[-2].split()[-3:]) == (0, ["+0.2", "%", "same"])
    ran = meridian(*said, "--same-within", "0.1%")
    assert ran.stdout.splitlines()[-1].endswith("+0.2 %  worse")
    (change,) = json.loads(meridian(*said, "--json").stdout)["changes"]
    assert (change["same"], change["worse"]) == (True, None)
    assert meridian(*said, "--fail-over", "0.1%").exit_code == 1
    assert meridian(*said, "--fail-over", "0.3%").exit_code == 0


def test_a_terminal_of_few_characters_gets_escapes_for_the_others(write, process):
    node = {"name": "é", "handled": 1000, "produced": 0, "errors": 0, "busy_s": 0.01}
    for name, busy_s in (("a.json", 0.01), ("b.json", 0.02)):
        write(name, json.dumps({"status": "stopped", "elapsed_s": 1.0, "engine": "python", "edges": [],
                                "nodes": [{**node, "busy_s": busy_s}]}))  # fmt: skip
    running = process("compare", "a.json", "b.json", env={"PYTHONIOENCODING": "ascii"})
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    (line,) = [each for each in out.splitlines() if each.startswith("per_message_s")]
    assert line.split()[1:6] == [r"\xe9", "10", r"\xb5s", "20", r"\xb5s"]


def test_what_redaction_made_alike_is_compared_as_far_as_it_can_be(write, meridian):
    def report(*seconds):
        nodes = [
            {"name": "[name]", "handled": 1000, "produced": 0, "errors": 0, "busy_s": each}
            for each in seconds
        ]
        return json.dumps(
            {"status": "stopped", "elapsed_s": 10.0, "engine": "python", "nodes": nodes, "edges": []}
        )

    write("a.json", report(1.0, 1.0))
    write("b.json", report(1.0, 2.0))
    write("c.json", report(1.0))
    ran = meridian("compare", "a.json", "b.json", "--metric", "per_message_s")
    assert ran.exit_code == 0
    assert "[name] (2 of 2)" in ran.stdout
    ran = meridian("compare", "a.json", "c.json", "--fail-over", "10%")
    assert ran.exit_code == 1
    assert "not compared, as several are called so: [name]\n" in ran.stdout
    assert ran.stdout.endswith("failed: nothing got worse by more than 10 %, 1 not compared\n")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["before.json", "nowhere.json"], "can't read 'nowhere.json': No such file or directory"),
        (["before.json", "."], "can't read '.': Is a directory"),
        (["before.json", "app.py"], "app.py is no JSON"),
        (["before.json", "before.json", "--fail-over", "-1%"], "is no percentage: give one such as 10%"),
        (["before.json", "before.json", "--fail-over", "nan"], "is no percentage"),
        (["before.json", "before.json", "--same-within", "5x"], "--same-within '5x' is no percentage"),
        (
            ["before.json", "before.json", "--same-within", "5%", "--fail-over", "1%"],
            "--same-within 5% is above --fail-over 1%: what is the same can't fail",
        ),
        (["before.json", "before.json", "--metric", "losst"], "did you mean 'lost'?"),
        (["before.json", "before.json", "--metric", "zzz"], "there are lost, errors"),
    ],
)
def test_what_cannot_be_compared_is_a_wrong_command_line(meridian, args, said):
    ran = meridian("compare", *args)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert said in ran.stderr


@pytest.mark.usefixtures("files")
def test_a_file_without_end_is_not_read_to_its_end(meridian, monkeypatch):
    monkeypatch.setattr(compare_module, "MOST_BYTES", 100)
    ran = meridian("compare", "before.json", "after.json")
    assert ran.exit_code == 2
    assert "is longer than 100 bytes" in ran.stderr
