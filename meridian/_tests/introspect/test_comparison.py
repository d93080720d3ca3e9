"""Two reports, snapshots or profiles compared: what changed, what got worse, and files that lie."""

import json

import jsonschema
import pytest

from meridian import Scheduler, drop, graph, sink, source, via
from meridian.introspect import Recorder, Watch
from meridian.introspect.comparison import ComparisonError, compare, measure
from meridian.introspect.schema import comparison_schema

pytestmark = pytest.mark.req("N7")

CANARY = "canary-3fa91c20"


def a_report(**facts):
    """A report of two nodes and the edge between them; ``nodes__out__handled=5`` sets what is further inside."""
    made = {
        "status": "stopped", "reason": "finished", "elapsed_s": 2.0, "engine": "python", "errors_total": 0,
        "nodes": [
            {"name": "read", "handled": 0, "produced": 100, "errors": 0, "busy_s": 0.5},
            {"name": "out", "handled": 100, "produced": 0, "errors": 0, "busy_s": 1.0},
        ],
        "edges": [
            {"id": "read->out", "accepted": 100, "delivered": 100, "depth": 0, "merged": 0, "lost": {}, "blocked_s": 0.0},
        ],
    }  # fmt: skip
    for key, value in facts.items():
        at, *inside = key.split("__")
        if not inside:
            made[at] = value
            continue
        which, field = inside
        next(each for each in made[at] if which in (each.get("name"), "edge"))[field] = value
    return made


def between(before, after, **options):
    return compare(measure(json.dumps(before), "a.json"), measure(json.dumps(after), "b.json"), **options)


def changes(made):
    return {(each.name, each.metric): each for each in made.changes}


def test_what_is_the_same_is_no_change():
    made = between(a_report(), a_report(), limit=0.0)
    assert (made.changes, made.passed) == ((), True)


def test_a_slower_node_is_told_by_its_time_for_each_message():
    made = between(a_report(), a_report(nodes__out__busy_s=1.5), limit=0.1)
    change = changes(made)["out", "per_message_s"]
    assert (change.before, change.after, change.change) == (0.01, 0.015, pytest.approx(0.5))
    assert (change.worse, change.over, made.passed) == (True, True, False)
    assert made.changes[0] == change


def test_what_got_better_never_fails():
    made = between(a_report(nodes__out__busy_s=1.5), a_report(), limit=0.0, only=["per_message_s"])
    assert (made.passed, [each.worse for each in made.changes]) == (True, [False])


def test_losses_and_errors_from_nothing_are_over_any_limit():
    after = a_report(edges__edge__lost={"dropped": 1}, edges__edge__delivered=99, nodes__out__errors=1)
    made = between(a_report(), after, limit=1000.0)
    assert not made.passed
    assert [(each.metric, each.before, each.after, each.change) for each in made.changes if each.over] == [
        ("lost", 0.0, 0.01, None),
        ("lost.dropped", 0.0, 0.01, None),
        ("errors", 0.0, 0.01, None),
    ]


def test_stretches_of_different_length_are_compared_by_rate():
    longer = a_report(
        elapsed_s=4.0, reason="shutdown",
        nodes__read__produced=200, nodes__read__busy_s=1.0, nodes__out__handled=200, nodes__out__busy_s=2.0,
        edges__edge__accepted=200, edges__edge__delivered=200,
    )  # fmt: skip
    assert between(a_report(), longer).changes == ()
    assert changes(between(a_report(), a_report(elapsed_s=4.0)))["", "elapsed_s"].worse


def test_what_is_gone_fails_and_what_is_new_does_not():
    more = a_report()
    more["nodes"].append({"name": "new", "handled": 0, "produced": 0, "errors": 0, "busy_s": 0})
    more["edges"].append({**more["edges"][0], "id": "read->new"})
    made = between(a_report(), more, limit=0.1)
    assert (made.nodes_new, made.edges_new, made.passed) == (("new",), ("read->new",), True)
    made = between(more, a_report(), limit=0.1)
    assert (made.nodes_gone, made.edges_gone, made.passed) == (("new",), ("read->new",), False)
    assert between(more, a_report()).passed, "without a limit nothing fails"


def test_only_what_was_asked_for_is_compared():
    after = a_report(
        nodes__out__busy_s=1.5, edges__edge__lost={"dropped": 3, "expired": 1}, edges__edge__delivered=96
    )
    made = between(a_report(), after, only=["lost.dropped", "per_message_s"])
    assert {each.metric for each in made.changes} == {"lost.dropped", "per_message_s"}
    assert {each.metric for each in between(a_report(), after, only=["lost"]).changes} == {
        "lost",
        "lost.dropped",
        "lost.expired",
    }


def test_what_differs_by_little_is_the_same_and_comes_last():
    after = a_report(nodes__out__busy_s=1.002, nodes__read__busy_s=0.6)
    made = between(a_report(), after, only=["per_message_s"])
    assert [(each.name, each.same, each.worse) for each in made.changes] == [
        ("read", False, True),
        ("out", True, None),
    ]


@pytest.mark.parametrize(
    ("options", "same", "worse", "passed"),
    [
        ({}, True, None, True),
        ({"same_within": 0.001}, False, True, True),
        ({"limit": 0.1}, True, None, True),
        ({"limit": 0.001}, False, True, False),
        ({"limit": 0.0}, False, True, False),
    ],
)
def test_a_small_limit_takes_the_place_of_what_is_the_same(options, same, worse, passed):
    made = between(a_report(), a_report(nodes__out__busy_s=1.002), only=["per_message_s"], **options)
    (change,) = made.changes
    assert (change.same, change.worse, made.passed) == (same, worse, passed)
    assert made.same_within == min(options.get("same_within", 0.05), options.get("limit", 1.0))


def test_a_loss_from_nothing_is_never_the_same():
    after = a_report(edges__edge__lost={"dropped": 1}, edges__edge__delivered=99)
    made = between(a_report(), after, only=["lost"], same_within=1.0)
    assert [(each.same, each.worse) for each in made.changes] == [(False, True)] * 2


def called_alike(*busy_s):
    """A report of nodes that a redaction policy gave one name, and of edges that it gave one id."""
    made = a_report()
    made["nodes"] += [{**made["nodes"][1], "name": "[name]", "busy_s": each} for each in busy_s]
    made["edges"] += [{**made["edges"][0], "id": "[edge]", "blocked_s": each} for each in busy_s]
    return made


def test_nodes_and_edges_that_are_called_alike_are_told_apart_by_their_place():
    made = between(called_alike(1.0, 1.0), called_alike(1.0, 2.0), limit=0.1)
    assert {
        ("[name] (2 of 2)", "per_message_s"),
        ("[edge] (2 of 2)", "blocked"),
    } <= changes(made).keys()
    assert not any("(1 of 2)" in each.name for each in made.changes)
    assert (made.nodes_unmatched, made.passed) == ((), False)


def test_of_what_is_called_alike_and_not_as_often_nobody_says_which_is_which():
    for before, after in ((1, 2), (3, 2)):
        made = between(called_alike(*[1.0] * before), called_alike(*[2.0] * after), limit=0.1)
        assert (made.nodes_unmatched, made.edges_unmatched) == (("[name]",), ("[edge]",))
        assert (made.changes, made.nodes_gone, made.nodes_new, made.passed) == ((), (), (), False)


@pytest.mark.parametrize(("before", "after"), [(1e18, 1e-18), (1e-18, 1e18), (1e-300, 1e18)])
def test_changes_of_absurd_size_are_numbers_still(before, after):
    made = between(
        a_report(nodes__out__busy_s=before, elapsed_s=before),
        a_report(nodes__out__busy_s=after, elapsed_s=after),
    )
    json.dumps(made.as_dict(), allow_nan=False)


def test_few_messages_and_tiny_differences_say_nothing_about_time():
    assert between(a_report(nodes__out__handled=9), a_report(nodes__out__handled=9, nodes__out__busy_s=2.0),
                   only=["per_message_s"]).changes == ()  # fmt: skip
    assert between(a_report(), a_report(nodes__out__busy_s=1.000001), only=["per_message_s"]).changes == ()


@pytest.mark.parametrize(
    ("before_s", "after_s", "n", "told"),
    [
        (403e-9, 2e-6, 1_000, False),  # 0.1 % of the loop: how many came at a time makes the difference
        (2e-6, 403e-9, 1_000, False),
        (403e-9, 2e-6, 11_000, True),  # more than a hundredth of the loop in one of them
        (2e-6, 403e-9, 11_000, True),
        (2e-6, 13e-6, 1_000, True),  # more than a clock may err
    ],
)
def test_a_few_microseconds_of_a_node_that_takes_nearly_nothing_are_no_change(before_s, after_s, n, told):
    before, after = (
        a_report(nodes__out__handled=n, nodes__out__busy_s=n * each) for each in (before_s, after_s)
    )
    made = between(before, after, only=["per_message_s"], limit=0.1)
    assert bool(made.changes) == told
    assert made.passed == (not told or after_s < before_s)


def test_where_no_time_is_known_a_few_microseconds_are_a_change():
    before, after = (a_report(elapsed_s=0, nodes__out__busy_s=100 * each) for each in (1e-6, 5e-6))
    assert between(before, after, only=["per_message_s"]).changes


@pytest.mark.usefixtures("engine")
@pytest.mark.req("X2")
def test_reports_snapshots_and_profiles_of_runs_are_compared_and_fit_the_published_schema():
    def run(capacity):
        scheduler = Scheduler()
        edge = via(capacity=capacity, policy=drop())
        scheduler.register(graph("g", source([CANARY] * 100, name="read") >> edge >> sink(str, name="out")))
        watch, recorder = Watch(scheduler), Recorder(whole=True)
        scheduler.run()
        recorder.add(watch.look(), 0.0)
        profile = recorder.profile(wanted_s=1, hz=1, end="run ended", measured="cpu")
        return scheduler.report().as_dict(), watch.look().as_dict(), profile.as_dict()

    for before, after in zip(run(100), run(1), strict=True):
        made = between(before, after, limit=0.1)
        lost = changes(made)["read:output->out:input", "lost.dropped"]
        assert (lost.before, lost.over) == (0.0, True)
        data = made.as_dict()
        jsonschema.Draft202012Validator(comparison_schema()).validate(data)
        assert CANARY not in json.dumps(data, allow_nan=False)
    assert all(
        said["description"]
        for each in (comparison_schema(), *comparison_schema()["$defs"].values())
        for said in each["properties"].values()
    )


def test_a_file_of_top_is_read_if_it_holds_one_snapshot():
    scheduler = Scheduler()
    scheduler.register(graph("g", source([1], name="read") >> sink(str, name="out")))
    scheduler.run()
    shot = Watch(scheduler).look().as_dict()
    assert measure(json.dumps({"pid": 1, "snapshots": [shot]}), "a").side.kind == "snapshot"
    for shots in ([], [shot, shot]):
        with pytest.raises(ComparisonError, match=f"a holds {len(shots)} snapshots"):
            measure(json.dumps({"snapshots": shots}), "a")


# ---- what can't be compared ----------------------------------------------------------------------------------------


def test_a_report_and_a_profile_are_not_compared_nor_are_different_graphs():
    profile = {**a_report(), "kind": "profile", "schema_version": "1.0", "window_s": 1.0, "errors": 0,
               "loop": {"lag_s": None}, "nodes": [], "edges": []}  # fmt: skip
    with pytest.raises(ComparisonError, match=r"a\.json is a report and b\.json a profile"):
        between(a_report(), profile)
    other = a_report()
    for node in other["nodes"]:
        node["name"] += "x"
    with pytest.raises(ComparisonError, match="of different graphs"):
        between(a_report(), other)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON, or was cut short"),
        (json.dumps(a_report())[:-20], "is no JSON, or was cut short"),
        (b"\xff\xfe\x00", "is no JSON: it isn't text"),
        ("[" * 100_000, "is nested too deeply"),
        ("[]", "is no report, snapshot or profile"),
        ("7", "is no report, snapshot or profile"),
        ('{"error": "interrupted"}', "it says that a command failed"),
        ('{"snapshots": [7]}', "is no report, snapshot or profile"),
    ],
)
def test_what_is_no_document_is_refused(text, said):
    with pytest.raises(ComparisonError, match=said):
        measure(text, "a.json")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"nodes": 7}, "nodes is no list"),
        ({"nodes": [7]}, r"nodes\[0\] is no object"),
        ({"nodes": [{"name": 7}]}, r"nodes\[0\]\.name is no text"),
        ({"nodes": [{}]}, r"nodes\[0\]\.name is missing"),
        ({"nodes__out__busy_s": "secret"}, r"nodes\[1\]\.busy_s is no number"),
        ({"nodes__out__busy_s": True}, r"nodes\[1\]\.busy_s is no number"),
        ({"nodes__out__busy_s": float("nan")}, "is no number that can be compared"),
        ({"nodes__out__busy_s": -1}, "is no number that can be compared"),
        ({"nodes__out__busy_s": 1e19}, "is no number that can be compared"),
        ({"nodes__out__handled": 10**400}, "is no number that can be compared"),
        ({"edges__edge__lost": [1]}, r"edges\[0\]\.lost is no object"),
        ({"edges__edge__lost": {"dropped": None}}, r"edges\[0\]\.lost\.dropped is no number"),
        ({"elapsed_s": None}, "elapsed_s is no number"),
        ({"schema_version": "2.0"}, r"of schema '2\.0': this Meridian reads 1\.x"),
        ({"schema_version": 1}, "of schema 1"),
        ({"schema_version": "9.9", "kind": "profile"}, r"is a profile of schema '9\.9'"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place_and_without_its_value(facts, said):
    with pytest.raises(ComparisonError, match=said) as caught:
        measure(json.dumps(a_report(**facts)), "a.json")
    assert "secret" not in str(caught.value)
