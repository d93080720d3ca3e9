"""``meridian lint``: findings as text, JSON and annotations, and what decides the exit code."""

import json

import pytest

from meridian.lint import rules

pytestmark = pytest.mark.req("N1.3", "N1.4")

GRAPHS = """
import time
from meridian import coalesce, drop, graph, node, sink, source, via

print("the target prints")

@node
def slow(x: int) -> None:
    time.sleep(1)

def clean(): return graph("clean", source([1]) >> sink(print))

def smelly(): return graph("smelly", source([1]) >> slow)

def broken(): return graph("broken", source([1]) >> via(policy=coalesce(len)) >> sink(print))

def lossy(): return graph("lossy", source([1]) >> via(policy=drop()) >> sink(print, name="store"))
"""


@pytest.fixture
def app(write):
    return write("app.py", GRAPHS)


def test_a_clean_graph_is_said_to_be_clean(app, meridian):
    ran = meridian("lint", "app.py:clean")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "the target prints\nclean\n", "")


def test_a_finding_has_place_level_rule_and_fix(app, meridian):
    ran = meridian("lint", "app.py:smelly")
    assert ran.exit_code == 0
    lines = ran.stdout.splitlines()[1:]
    assert lines[0].startswith("app.py:9: warning blocking-call: slow() waits in time.sleep()")
    assert lines[1].startswith("    Await the asynchronous counterpart")
    assert lines[2:] == ["1 warning", "why: meridian lint --explain blocking-call"]


@pytest.mark.parametrize(
    ("target", "options", "code"),
    [
        ("broken", [], 1),
        ("smelly", [], 0),
        ("smelly", ["--strict"], 1),
        ("smelly", ["--strict", "--ignore", "blocking-call"], 0),
        ("smelly", ["--strict", "--ignore", "tiny-edge, blocking-call"], 0),
        ("smelly", ["--strict", "--select", "tiny-edge"], 0),
        ("smelly", ["--strict", "--select", "tiny-edge", "--select", "blocking-call"], 1),
    ],
)
def test_errors_fail_and_warnings_only_if_strict(app, meridian, target, options, code):
    assert meridian("lint", f"app.py:{target}", *options).exit_code == code


def test_json_is_one_object_also_where_the_target_prints(app, meridian):
    ran = meridian("lint", "app.py:smelly", "--json", "--strict")
    said = json.loads(ran.stdout)
    assert ran.exit_code == 1
    assert (said["target"], said["clean"], said["errors"], said["warnings"]) == ("app.py:smelly", False, 0, 1)
    assert [(each["rule"], each["file"], each["line"]) for each in said["lints"]] == [
        ("blocking-call", "app.py", 9)
    ]


def test_annotations_are_those_of_githubs_workflows(app, meridian):
    ran = meridian("lint", "app.py:smelly", "--github")
    (line,) = ran.stdout.splitlines()[1:]
    assert line.startswith("::warning file=app.py,line=9,title=blocking-call::slow() waits in time.sleep()")
    ran = meridian("lint", "app.py:lossy", "--github")
    assert ran.stdout.splitlines()[1].startswith(
        "::warning file=app.py,line=17,title=lossy-durable::edge source:output->store:"
    )


def test_a_comment_where_an_edge_is_declared_suppresses_what_is_found_about_it(write, meridian):
    write(
        "app.py",
        "from meridian import drop, graph, sink, source, via\n"
        "build = lambda: graph(\n    'g',\n    source([1])\n"
        "    >> via(policy=drop())  # meridian: ignore[lossy-durable] samples will do\n"
        "    >> sink(print, name='store'),\n)\n",
    )
    assert meridian("lint", "app.py:build").stdout == "clean\n"
    write("other.py", "from app import *\n")
    assert meridian("lint", "app.py:build", "--ignore", "lossy-durable").stdout == "clean\n"


def test_the_settings_of_the_project_hold_and_select_replaces_what_it_selects(app, write, meridian):
    write("pyproject.toml", "[tool.meridian.lint]\nselect = ['tiny-edge']\n")
    assert meridian("lint", "app.py:smelly").stdout.splitlines()[1:] == ["clean"]
    assert "blocking-call" in meridian("lint", "app.py:smelly", "--select", "blocking-call").stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["app.py:smelly", "--ignore", "blocking"],
            "there is no rule 'blocking': did you mean 'blocking-call'",
        ),
        (["app.py:smelly", "--select", "nothing"], "there is no rule 'nothing'"),
        (["app.py:smelly", "--json", "--github"], "two different answers"),
        ([], "TARGET is missing: name a graph, or ask for --list or --explain RULE"),
        (["app.py:smell"], "has no attribute 'smell'"),
        (["--explain", "tiny"], "there is no rule 'tiny': did you mean 'tiny-edge'?"),
    ],
)
def test_a_wrong_command_line_exits_2_and_says_what_is_right(app, meridian, args, said):
    ran = meridian("lint", *args)
    assert ran.exit_code == 2
    assert said in ran.stderr


def test_a_mistake_in_pyproject_exits_2_and_names_file_and_key(app, write, meridian):
    write("pyproject.toml", "[tool.meridian.lint]\nignores = []\n")
    ran = meridian("lint", "app.py:smelly")
    assert ran.exit_code == 2
    assert "pyproject.toml: [tool.meridian.lint] has no key 'ignores': did you mean 'ignore'?" in ran.stderr
    assert "the target prints" not in ran.stdout


def test_all_rules_can_be_listed_and_each_explained(meridian):
    listed = meridian("lint", "--list").stdout.splitlines()
    assert [line.split()[0] for line in listed[1:]] == list(rules())
    said = json.loads(meridian("lint", "--list", "--json").stdout)
    assert [each["id"] for each in said["rules"]] == list(rules())
    told = meridian("lint", "--explain", "tiny-edge").stdout
    rule = rules()["tiny-edge"]
    assert all(text.strip() in told for text in (rule.sentence, rule.reason, rule.fix, rule.bad, rule.good))
    assert json.loads(meridian("lint", "--explain", "tiny-edge", "--json").stdout)["fix"] == rule.fix
