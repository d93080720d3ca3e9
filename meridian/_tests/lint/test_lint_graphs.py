"""What rules see in the wiring, and graphs and objects that nobody should trust."""

import json

import pytest

from meridian import (
    FileWriterNode,
    Message,
    MessageType,
    Node,
    PriorityBand,
    Scheduler,
    Subgraph,
    block,
    coalesce,
    drop,
    graph,
    latest,
    node,
    sink,
    source,
    via,
)
from meridian.core.policies import ErrorPolicy
from meridian.lint import Lint, lint
from meridian.testing import assert_lint_clean

pytestmark = pytest.mark.req("N1.3")

CANARY = "jane.doe" + "@" + "shop.example.com"


def rules_of(made, **options) -> list[str]:
    return [each.rule for each in lint(made, **options)]


def wires(name: str) -> Node:
    """A node that may stand anywhere: its source has nothing to find."""
    return Node.with_ports(name, ["in"], ["out"])


@pytest.mark.parametrize(
    ("policy", "age", "expected"),
    [
        (None, None, []),
        (block(), None, []),
        (drop(), None, ["lossy-durable"]),
        (latest(), None, ["lossy-durable"]),
        (coalesce(lambda old, new: new), None, []),
        (None, 5.0, ["lossy-durable"]),
    ],
)
def test_only_what_loses_is_told_in_front_of_a_store(policy, age, expected):
    made = graph("g", source([1]) >> via(policy=policy, max_age_s=age) >> sink(print, name="payments"))
    assert rules_of(made) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("audit_log", True),
        ("AuditLog", True),
        ("dead_letter", True),
        ("eu/store", True),
        ("restore_view", False),
        ("dashboard", False),
        ("letters", False),
    ],
)
def test_the_words_of_a_name_count_and_not_its_letters(name, expected):
    made = graph("g", source([1]) >> via(policy=drop()) >> sink(print, name=name))
    assert ("lossy-durable" in rules_of(made)) == expected


def test_a_node_that_writes_files_is_known_by_its_class(tmp_path):
    made = graph("g", source([1]) >> via(policy=drop()) >> FileWriterNode("out", str(tmp_path / "x")))
    assert rules_of(made) == ["lossy-durable"]


def test_what_a_graph_shows_to_the_outside_is_connected_and_fed():
    @node
    def double(n: int) -> int:
        return 2 * n

    inner = Subgraph("inner")
    inner.add_node(double)
    assert set(rules_of(inner)) == {"dangling-output", "never-fed"}
    inner.expose_input("in", ("double", "input"))
    inner.expose_output("out", ("double", "output"))
    assert rules_of(inner) == []
    outer = graph("outer", source([1]) >> inner >> sink(print))
    assert rules_of(outer) == []
    (told,) = lint(graph("outer", source([1], name="start") >> inner["in"]))
    assert (told.rule, told.node) == ("dangling-output", "inner/double")


def test_an_invalid_graph_is_looked_at_as_far_as_it_goes():
    made = Subgraph("g")
    made.add_node(Node("a:b"))
    made.expose_input("in", ("nobody", "x"))
    assert rules_of(made) == ["invalid-graph", "ambiguous-name"]
    broken = graph("g", source([1]) >> sink(print, name="store"))
    broken.edges[0].target_node = "nobody"
    assert rules_of(broken) == ["invalid-graph"]


def test_emitting_errors_takes_an_output_that_leads_somewhere():
    def build(**options):
        return node(name="risky", on_error=ErrorPolicy.EMIT_ERROR, **options)(lambda n: n)

    (told,) = lint(graph("g", source([1]) >> build(outputs=[])))
    assert told.what == "node 'risky' is to emit its errors, but has no output"
    made = graph("g", source([1]) >> build(outputs=["out", "error"])["out"] >> sink(print))
    assert [each.what for each in lint(made)] == [
        "node 'risky' emits its errors on 'error', which leads to nothing"
    ]
    assert lint(graph("g", source([1]) >> build() >> sink(print))) == ()


def test_a_source_that_gives_commands_is_known_by_its_name():
    made = graph("g", source([1], name="stop") >> via(policy=drop()) >> sink(print))
    (told,) = lint(made)
    assert (told.rule, told.edge) == ("lossy-control", "stop:output->print:input")


def test_of_nodes_that_nothing_feeds_the_first_is_told():
    a, b, c = (sink(print, name=name) for name in "abc")
    x, y = Node.with_ports("x", ["in"], ["out"]), Node.with_ports("y", ["in"], ["out"])
    x.__class__ = y.__class__ = type("Plain", (Node,), {})
    found = lint(graph("g", source([1]) >> a, x >> y, y >> b, c))
    assert [(each.rule, each.node) for each in found] == [("never-fed", "x"), ("never-fed", "c")]
    assert found[0].what == (
        "node 'x' never gets a message, nor anything behind it (2 more): no edge leads to it"
    )
    closed = lint(graph("g", source([1]) >> a, x >> via(policy=drop()) >> y, y >> x))
    assert [(each.rule, each.node) for each in closed] == [("never-fed", "x")]
    assert "only nodes feed it that it feeds itself" in closed[0].what


@pytest.mark.parametrize(
    ("policies", "expected"),
    [((None, None), True), ((block(), None), True), ((drop(), None), False), ((None, latest()), False)],
)
def test_a_cycle_is_told_only_if_all_its_edges_block(policies, expected):
    a, b = wires("a"), wires("b")
    made = graph("g", a >> via(policy=policies[0]) >> b, b >> via(policy=policies[1]) >> a)
    assert ("blocking-cycle" in rules_of(made)) == expected


@pytest.mark.parametrize(("name", "told"), [("a/b", 1), (" a", 1), ("a b", 0), ("a->b", 1), ("a\u200b", 1)])
def test_the_names_that_stand_in_ids_are_looked_at_those_of_nested_graphs_too(name, told):
    aliased = Subgraph("g")
    aliased.add_node(Node("plain"), name)
    assert len(lint(aliased)) == told
    nested = Subgraph("g")
    nested.add_node(Subgraph("plain"), name)
    assert len(lint(nested)) == told


def test_a_long_chain_and_a_long_cycle_need_no_recursion():
    nodes = [wires(f"n{i}") for i in range(3000)]
    made = Subgraph.from_nodes("long", nodes)
    for before, after in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        made.connect((before.name, "out"), (after.name, "in"))
    assert rules_of(made) == ["blocking-cycle"]


def merge(old: str, new: str) -> str:
    return old + new


async def later(old, new):
    return new


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda old: old, "can't be called with two items"),
        (lambda old, new, third: old, "can't be called with two items"),
        (later, "is asynchronous"),
        (merge, "takes str as 'old'"),
        (lambda old, new=None: old, None),
        (lambda *items: items, None),
        (max, None),
    ],
)
def test_the_function_of_a_coalesce_edge_is_looked_at(function, said):
    def ints(n: int) -> None:
        pass

    made = graph("g", source(range(3)) >> via(policy=coalesce(function)) >> node(ints))
    found = lint(made)
    assert [each.rule for each in found] == ([] if said is None else ["coalesce-function"])
    assert said is None or said in found[0].what


def test_a_limit_in_bytes_of_the_graph_counts_for_its_edges():
    def build(max_bytes):
        return graph("g", source([1]) >> via(capacity=200_000) >> sink(print), max_bytes=max_bytes)

    assert rules_of(build(None)) == ["huge-capacity"]
    assert rules_of(build(1_000_000)) == []


def test_the_bands_of_a_scheduler_count():
    scheduler = Scheduler()
    scheduler.register(graph("g", source([1], name="s") >> via(policy=drop()) >> sink(print)))
    assert rules_of(scheduler) == []
    scheduler.set_priority("s:output->print:input", PriorityBand.CONTROL)
    assert rules_of(scheduler) == ["lossy-control"]


def test_one_node_and_several_graphs_can_be_linted():
    assert rules_of(Node("alone")) == []
    graphs = [graph("a", source([1], name="s") >> sink(print)), graph("b", source([2], name="loose"))]
    assert rules_of(graphs) == ["dangling-output"]


# ---- what is told ----------------------------------------------------------------------------------------------------


def test_a_finding_is_frozen_and_goes_into_json():
    (told,) = lint(graph("g", source([1], name="s") >> via(capacity=200_000) >> sink(print)))
    assert json.loads(json.dumps(told.as_dict())) == {
        "rule": "huge-capacity",
        "level": "warning",
        "node": "print",
        "edge": "s:output->print:input",
        "what": "edge s:output->print:input may hold 200,000 items, of any size",
        "why": told.why,
        "fix": told.fix,
        "file": None,
        "line": None,
    }
    assert (
        str(told) == "warning huge-capacity: edge s:output->print:input may hold 200,000 items, of any size"
    )
    with pytest.raises(AttributeError):
        told.rule = "other"  # type: ignore[misc]  # that it can't is what is tested


@pytest.mark.req("N1", "X2")
def test_no_finding_shows_a_name_that_is_personal():
    made = graph(
        "g", source([1]) >> via(policy=drop(), capacity=200_000) >> sink(print, name=f"store {CANARY}")
    )
    made.lint_ignore = {CANARY: "x"}
    found = lint(made)
    assert {each.rule for each in found} == {"secret-name", "huge-capacity", "lossy-durable", "bad-ignore"}
    assert CANARY not in json.dumps([each.as_dict() for each in found])


def test_errors_come_before_warnings_and_notes():
    made = graph(
        "g",
        source([1]) >> via(capacity=1) >> wires("a") >> via(policy=coalesce(len)) >> sink(print, name="b:c"),
    )
    assert [each.level for each in lint(made)] == ["error", "warning", "note"]


# ---- what can't be trusted -------------------------------------------------------------------------------------------


def lone(handler) -> tuple[Lint, ...]:
    return lint(graph("g", source([1]) >> sink(handler, name="s")))


def test_what_was_made_by_exec_is_told_and_not_guessed():
    names: dict[str, object] = {}
    exec("def f(x):\n    return x", names)
    assert [(each.rule, each.level) for each in lone(names["f"])] == [("unseen", "note")]


@pytest.mark.parametrize(
    "text",
    [
        "def f(x:\n",  # no Python
        "def g(x): pass\n",  # changed since it was imported
        "",
        "\0\0",
        "# coding: nothing-like-this\ndef f(x): pass\n",
        "(" * 5000,
        "def f(other): pass\n",
    ],
)
def test_a_file_that_holds_something_else_is_told_and_not_guessed(tmp_path, text):
    path = tmp_path / "hostile.py"
    path.write_text(text, encoding="utf-8")
    names: dict[str, object] = {}
    exec(compile("def f(x):\n    return x", str(path), "exec"), names)
    assert [each.rule for each in lone(names["f"])] == ["unseen"]


@pytest.mark.parametrize("file", ["/dev/zero", "/", "<stdin>", "\0", "x" * 5000])
def test_a_file_name_may_be_anything(file):
    names: dict[str, object] = {}
    exec("def f(x):\n    return x", names)
    names["f"].__code__ = names["f"].__code__.replace(co_filename=file)
    assert [each.rule for each in lone(names["f"])] == ["unseen"]


def test_lambdas_on_one_line_are_told_apart_only_by_their_parameters():
    one, two = (lambda x: x, lambda y: y)
    same, again = (lambda z: z, lambda z: -z)
    assert lone(one) == lone(two) == ()
    assert [each.rule for each in lone(same)] == [each.rule for each in lone(again)] == ["unseen"]


def test_wrappers_that_lead_in_a_circle_end():
    def f(x):
        return x

    f.__wrapped__ = f
    assert lone(f) == ()


def test_an_object_that_refuses_to_be_looked_at_is_told():
    class Refusing(Node):
        @property
        def error_policy(self):  # type: ignore[override]  # what is tested is something that refuses
            raise RuntimeError(CANARY)

        def _handle_message(self, port, msg):
            pass

    made = graph("g", source([1]) >> Refusing("r", Node.with_ports("x", ["in"], []).inputs))
    found = lint(made)
    assert [(each.rule, each.what) for each in found] == [
        ("unseen", "the rule errors-nowhere had to give up: <RuntimeError>")
    ]


def test_nothing_of_a_graph_is_run():
    ran = []

    class Careful(Node):
        @property
        def trap(self):
            ran.append("property")

        def on_start(self):
            ran.append("hook")

        def _handle_message(self, port, msg):
            self.trap.acquire()

    def items():
        ran.append("source")
        return [1]

    lint(graph("g", source(items) >> Careful("c", Node.with_ports("x", ["in"], []).inputs)))
    assert ran == []


# ---- in a test -------------------------------------------------------------------------------------------------------


def test_a_test_can_ask_for_a_clean_graph(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stop = Message(MessageType.CONTROL, "stop")
    assert_lint_clean(graph("g", source([stop]) >> via(capacity=1) >> wires("a") >> sink(print)))
    made = graph("g", source([1]) >> via(policy=drop()) >> sink(print, name="store"))
    with pytest.raises(AssertionError) as failed:
        assert_lint_clean(made)
    lines = str(failed.value).splitlines()
    assert lines[0] == "the graph is not lint-clean:"
    assert lines[1].startswith("  warning lossy-durable: edge source:output->store:input may lose")
    assert lines[2].startswith("    Let the edge block")
    assert_lint_clean(made, ignore=["lossy-durable"])
    (tmp_path / "pyproject.toml").write_text(
        "[tool.meridian.lint]\nignore = ['lossy-durable']\n", encoding="utf-8"
    )
    assert_lint_clean(made)
