"""Suppressions: what they reach, which are refused, and which are told to be of no use."""

import pytest

from meridian import Subgraph, block, drop, graph, sink, source, via
from meridian.core.errors import ConfigError
from meridian.lint import Settings, lint, read_settings
from meridian.testing import assert_lint_clean

pytestmark = pytest.mark.req("N1.3")

HEAD = "import time\nfrom meridian import Node, drop, graph, node, sink, source, via\n"


def rules_of(found) -> list[str]:
    return [each.rule for each in found]


@pytest.mark.parametrize(
    "text",
    [
        "@node\ndef handle(x: int) -> None:\n    time.sleep(1)  # meridian: ignore[blocking-call] a test\n",
        "@node\ndef handle(x: int) -> None:  # meridian: ignore[blocking-call] a test\n    time.sleep(1)\n",
        "@node  # meridian: ignore[blocking-call]: a test\ndef handle(x: int) -> None:\n    time.sleep(1)\n",
        "@node\ndef handle(x: int) -> None:\n    time.sleep(  # meridian: ignore[tiny-edge, blocking-call] a test\n        1)\n",
        "@node\ndef handle(x: int) -> None:\n    time.sleep(1)\nhandle.lint_ignore = {'blocking-call': 'a test'}\n",
    ],
)
def test_a_suppression_on_the_line_on_the_function_or_on_the_node_holds(load, text):
    found = lint(load(HEAD + text + "def build(): return graph('g', source([1]) >> handle)\n"))
    assert rules_of(found) in ([], ["unused-ignore"])  # of the two rules in one comment, one finds nothing
    assert all("tiny-edge" in each.what for each in found)


@pytest.mark.parametrize(
    "place",
    ["class Slow(Node):{}\n    def", "class Slow(Node):\n    {}\n    def", "class Slow(Node):\n    def"],
)
def test_a_class_may_suppress_for_all_its_nodes(load, place):
    comment = "  # meridian: ignore[blocking-call] a test"
    mapping = "lint_ignore = {'blocking-call': 'a test'}"
    text = place.format(mapping if "\n    {}" in place else comment)
    made = load(
        HEAD + f"{text} _handle_message(self, port, msg): time.sleep(1)\n"
        "def build():\n"
        "    slow = Slow('slow', Node.with_ports('x', ['in'], []).inputs)\n"
        "    return graph('g', source([1]) >> slow)\n"
    )
    assert rules_of(lint(made)) == ([] if "{}" in place else ["blocking-call"])


def test_a_graph_may_suppress_for_all_that_is_in_it():
    made = graph("g", source([1]) >> via(policy=drop()) >> sink(print, name="store"))
    assert rules_of(lint(made)) == ["lossy-durable"]
    made.lint_ignore = {"lossy-durable": "the store takes samples"}
    assert lint(made) == ()
    made.lint_ignore = {"lossy-durable": "the store takes samples", "tiny-edge": "none left"}
    (told,) = lint(made)
    assert (told.rule, told.level) == ("unused-ignore", "warning")
    assert told.what == "lint_ignore of graph 'g' ignores tiny-edge, which finds nothing there"


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("ignore[blocking-cal] a test", "there is no rule 'blocking-cal': did you mean 'blocking-call'"),
        ("ignore[blocking-call]", "say why behind blocking-call"),
        ("ignore a test", "name the rule in brackets"),
        ("ignore[] a test", "name the rule in brackets"),
    ],
)
def test_a_comment_that_means_nothing_suppresses_nothing_and_is_an_error(load, comment, said):
    made = load(
        HEAD + f"@node\ndef handle(x: int) -> None:\n    time.sleep(1)  # meridian: {comment}\n"
        "def build(): return graph('g', source([1]) >> handle)\n"
    )
    first, second = lint(made)
    assert (first.rule, first.level, first.line) == ("bad-ignore", "error", 5)
    assert said in first.what
    assert second.rule == "blocking-call"


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (["blocking-call"], "has to be a mapping"),
        ({"blocking-cal": "x"}, "did you mean 'blocking-call'"),
        ({"blocking-call": ""}, "say why behind blocking-call"),
        ({"blocking-call": 3}, "say why behind blocking-call"),
        ({3: "x"}, "there is no rule '3'"),
    ],
)
def test_a_mapping_that_means_nothing_is_an_error(mapping, said):
    made = graph("g", source([1]) >> sink(print))
    made.lint_ignore = mapping
    (told,) = lint(made)
    assert (told.rule, told.level) == ("bad-ignore", "error")
    assert said in told.what


def test_what_looks_like_a_suppression_within_a_text_is_none(load):
    made = load(
        HEAD + "@node\ndef handle(x: int) -> None:\n"
        "    time.sleep(1); '# meridian: ignore[blocking-call] a test'\n"
        "def build(): return graph('g', source([1]) >> handle)\n"
    )
    assert rules_of(lint(made)) == ["blocking-call"]


def test_a_comment_at_a_connect_call_holds_where_the_call_was_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def build():
        made = Subgraph.from_nodes("g", [source([1]), sink(print, name="store").node()])
        made.connect(
            ("source", "output"),
            ("store", "input"),
            policy=drop(),  # meridian: ignore[lossy-durable] samples will do
        )
        return made

    assert rules_of(lint(build())) == ["lossy-durable"]
    assert_lint_clean(build)
    with pytest.raises(AssertionError, match=r"test_lint_suppressions.py:\d+: warning unused-ignore"):
        assert_lint_clean(lambda: _blocking(build()))


def _blocking(made):
    made.edges[0].default_policy = block()
    return made


def test_a_suppression_that_belongs_to_another_graph_of_the_file_is_not_judged(load):
    made = load(
        HEAD
        + "@node\ndef other(x: int) -> None:\n    pass  # meridian: ignore[blocking-call] of another graph\n"
        "@node\ndef handle(x: int) -> None:\n    x += 1\n"
        "def build(): return graph('g', source([1]) >> handle)\n"
    )
    assert lint(made) == ()


def test_rules_that_do_not_look_leave_suppressions_unjudged(load):
    made = load(
        HEAD
        + "@node\ndef handle(x: int) -> None:\n    x += 1  # meridian: ignore[blocking-call] it was slow\n"
        "def build(): return graph('g', source([1]) >> handle)\n"
    )
    assert rules_of(lint(made)) == ["unused-ignore"]
    assert lint(made, ignore=["blocking-call"]) == ()


# ---- options and pyproject.toml --------------------------------------------------------------------------------------


def lossy():
    return graph(
        "g", source([1]) >> via(policy=drop()) >> sink(print, name="store"), source([1], name="loose")
    )


def test_select_and_ignore_choose_rules_and_refuse_unknown_ones():
    assert set(rules_of(lint(lossy()))) == {"dangling-output", "lossy-durable"}
    assert rules_of(lint(lossy(), select=["lossy-durable"])) == ["lossy-durable"]
    assert rules_of(lint(lossy(), ignore=["lossy-durable"])) == ["dangling-output"]
    with pytest.raises(ValueError, match="there is no rule 'lossy'"):
        lint(lossy(), ignore=["lossy"])


def test_settings_of_the_nearest_project_hold_and_per_node_patterns_reach_nodes_and_edges(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.meridian.lint]\nignore = ['dangling-output']\n[tool.meridian.lint.per-node]\n'st*' = ['lossy-durable']\n",
        encoding="utf-8",
    )
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    settings = read_settings(below)
    assert settings == Settings(None, frozenset({"dangling-output"}), {"st*": frozenset({"lossy-durable"})})
    assert lint(lossy(), settings=settings) == ()
    by_edge = Settings(per_node={"*->store:input": frozenset({"lossy-durable"})})
    assert rules_of(lint(lossy(), settings=by_edge)) == ["dangling-output"]


def test_without_a_project_or_its_table_there_are_no_settings(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n", encoding="utf-8")
    assert read_settings(tmp_path) == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.meridian.lint]\nignores = []", "has no key 'ignores': did you mean 'ignore'?"),
        (
            "[tool.meridian.lint]\nignore = ['tiny']",
            "ignore: there is no rule 'tiny': did you mean 'tiny-edge'?",
        ),
        ("[tool.meridian.lint]\nselect = 'tiny-edge'", "select has to be a list of rules"),
        ("[tool.meridian.lint]\nper-node = 3", "per-node has to be a table"),
        ("[tool.meridian.lint.per-node]\n'a*' = [3]", "per-node 'a*' has to be a list of rules"),
        ("[tool.meridian]\nlint = 3", "has to be a table with select, ignore, per-node"),
        ("[tool.meridian.lint\n", "can't read [tool.meridian.lint]: "),
        ("tool = 3", "can't read [tool.meridian.lint]: AttributeError"),
    ],
)
def test_settings_that_mean_nothing_are_refused_with_file_key_and_fix(tmp_path, text, said):
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        read_settings(tmp_path)
    assert "pyproject.toml: " in str(refused.value)
    assert said in str(refused.value)
