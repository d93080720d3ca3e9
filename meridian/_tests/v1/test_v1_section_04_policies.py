"""Section 4 of the v1 contract: overflow policies, and what an edge then does."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

import dataclasses

import pytest

from meridian import Node, Subgraph, block, coalesce, drop, latest
from meridian._tests.core.parts import (
    Burst,
    Collect,
    TickBurst,
    chain,
    control,
    data,
    edge,
    inputs,
    outputs,
    payloads,
    run,
    taken,
)
from meridian.core.policies import (
    BackpressureStrategy,
    Block,
    Coalesce,
    Drop,
    Latest,
    PutResult,
    RetryPolicy,
    Routable,
    RoutingPolicy,
    as_policy,
)

OK, BLOCKED, DROPPED, REPLACED, COALESCED = PutResult
pytestmark = [pytest.mark.req("V1", "V3"), pytest.mark.usefixtures("engine")]


def test_the_results_are_five():
    assert [result.name for result in PutResult] == ["OK", "BLOCKED", "DROPPED", "REPLACED", "COALESCED"]


@pytest.mark.parametrize(
    ("policy", "full"),
    [
        (Block(), BLOCKED),
        (Drop(), DROPPED),
        (Latest(), REPLACED),
        (Coalesce(lambda old, new: new), COALESCED),
    ],
)
def test_on_enqueue_answers_ok_while_there_is_room_and_else_its_own(policy, full):
    assert [policy.on_enqueue(2, size, object()) for size in (0, 1, 2, 3)] == [OK, OK, full, full]
    assert policy.on_enqueue(0, 0, object()) is full


def test_on_enqueue_never_calls_the_coalesce_function():
    def never(old, new):
        pytest.fail("called")

    assert Coalesce(never).on_enqueue(1, 1, 5) is COALESCED


def test_factories_make_their_classes():
    assert [type(each) for each in (block(), drop(), latest())] == [Block, Drop, Latest]
    fn = max
    made = coalesce(fn)
    assert isinstance(made, Coalesce)
    assert made.fn is fn
    assert made == Coalesce(max)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.fn = min


@pytest.mark.v1("D34")
def test_the_enums_that_did_nothing_keep_their_values():
    assert [(each.name, each.value) for each in RetryPolicy] == [("NONE", 0), ("SIMPLE", 1)]
    assert [(each.name, each.value) for each in BackpressureStrategy] == [("DROP", 0), ("BLOCK", 1)]


def test_routing_takes_the_items_own_key_or_the_default():
    class Order:
        def route_key(self) -> str:
            return "orders"

    assert isinstance(Order(), Routable)
    assert RoutingPolicy().select(Order()) == "orders"
    assert RoutingPolicy().select(5) == "default"
    assert RoutingPolicy("other").select(5) == "other"


# ---- what the edge does ----------------------------------------------------------------------------------------


def test_block_leaves_a_full_edge_unchanged():
    made = edge(2)
    assert [made.try_put(n, block()) for n in range(3)] == [OK, OK, BLOCKED]
    assert taken(made) == [0, 1]


def test_drop_discards_the_new_item_and_counts_it():
    made = edge(2)
    assert [made.try_put(n, drop()) for n in range(4)] == [OK, OK, DROPPED, DROPPED]
    assert made.ring().lost == {"dropped": 2}
    assert taken(made) == [0, 1]


@pytest.mark.v1("D6")
def test_latest_discards_the_oldest_keeps_the_order_and_counts_the_loss():
    made = edge(4)
    results = [made.try_put(n, latest()) for n in range(8)]
    assert results == [OK] * 4 + [REPLACED] * 4
    assert made.ring().lost == {"replaced": 4}
    assert taken(made) == [4, 5, 6, 7]


@pytest.mark.v1("D6")
@pytest.mark.req("V7", "V14")
def test_latest_in_a_run_delivers_the_newest_in_order_and_reports_the_loss():
    out = Collect("c")
    made = run(chain(Burst("b", range(8)), out, capacity=4, policy=latest()))
    assert out.got == [4, 5, 6, 7]
    (report,) = made.report().edges
    assert (report.accepted, report.delivered, report.depth, report.lost) == (8, 4, 0, {"replaced": 4})


def test_coalesce_merges_into_the_newest_queued_item_and_keeps_the_depth():
    made = edge(2)
    merge = coalesce(lambda old, new: old + new)
    assert [made.try_put(n, merge) for n in (1, 10, 100, 1000)] == [OK, OK, COALESCED, COALESCED]
    assert made.depth() == 2
    assert made.ring().merged == 2
    assert taken(made) == [1, 1110]


@pytest.mark.v1("D7")
def test_coalesce_gives_payloads_of_messages_and_rewraps_in_the_newer_envelope():
    made = edge(1)
    newer = data(10, h="newer")
    made.try_put(data(1, h="older"), coalesce(lambda old, new: old + new))
    made.try_put(newer, coalesce(lambda old, new: old + new))
    merged = made.try_get()
    assert merged.payload == 11
    assert merged.headers == newer.headers


@pytest.mark.v1("D7")
def test_a_coalesce_function_that_wants_messages_gets_them_after_its_payload_call_failed():
    made = edge(1)

    def merge(old, new):
        return data(old.payload + new.payload, merged=True)

    for n in (1, 2, 3):
        made.try_put(data(n), coalesce(merge))
    merged = made.try_get()
    assert merged.payload == 6
    assert merged.headers["merged"] is True
    assert made.ring().lost is None


@pytest.mark.v1("D7")
def test_coalesce_on_message_always_gets_messages():
    seen = []

    def merge(old, new):
        seen.append((type(old).__name__, type(new).__name__))
        return new

    made = edge(1)
    newer = data(2)
    made.try_put(data(1), coalesce(merge, on="message"))
    made.try_put(newer, coalesce(merge, on="message"))
    assert seen == [("Message", "Message")]
    assert made.try_get() is newer


@pytest.mark.v1("D7")
def test_a_message_that_the_function_returns_is_used_as_it_is():
    merged = data("merged")
    made = edge(1)
    made.try_put(data(1), coalesce(lambda old, new: merged))
    made.try_put(data(2), coalesce(lambda old, new: merged))
    assert made.try_get() is merged


@pytest.mark.v1("D7")
def test_the_tutorials_function_works_for_both_styles():
    def text(item):
        return item.payload if hasattr(item, "payload") else str(item)

    def merge(old, new):
        return data(f"{text(old)},{text(new)}")

    made = edge(1)
    for n in (1, 2, 3):
        made.try_put(data(n), coalesce(merge))
    assert made.try_get().payload == "1,2,3"


@pytest.mark.v1("D7")
def test_raw_items_reach_the_function_raw():
    seen = []

    def merge(old, new):
        seen.append((old, new))
        return old + new

    made = edge(1)
    made.try_put(1, coalesce(merge))
    made.try_put(2, coalesce(merge))
    assert seen == [(1, 2)]


@pytest.mark.v1("D7")
@pytest.mark.req("V14")
def test_a_failing_function_keeps_the_newer_item_and_counts_the_older_as_lost():
    def merge(old, new):
        raise ZeroDivisionError

    made = edge(1)
    assert made.try_put(1, coalesce(merge)) is OK
    assert made.try_put(2, coalesce(merge)) is COALESCED
    assert made.ring().lost == {"coalesce_error": 1}
    assert made.ring().merged == 0
    assert taken(made) == [2]


@pytest.mark.v1("D7")
def test_each_failure_of_a_function_in_a_run_is_counted_in_an_error_event_without_payload(records):
    def merge(old, new):
        raise ValueError("secret-payload")

    out = Collect("c")
    made = run(chain(Burst("b", [1, 2, 3]), out, capacity=1, policy=coalesce(merge)))
    assert out.got == [3]
    (report,) = made.report().edges
    assert (report.accepted, report.lost, report.merged) == (3, {"coalesce_error": 2}, 0)
    errors = [record for record in records() if record["event"] == "edge.coalesce_error"]
    assert {error["level"] for error in errors} == {"ERROR"}
    assert sum(error["n"] for error in errors) == 2
    assert {error["error_type"] for error in errors} == {"ValueError"}
    assert "secret" not in str(records())


@pytest.mark.v1("D7")
def test_the_streaming_examples_payload_function_loses_nothing():
    out = Collect("c")
    run(chain(Burst("b", range(10)), out, capacity=3, policy=coalesce(lambda old, new: old + new)))
    assert sum(out.got) == sum(range(10))
    assert out.got == [0, 1, sum(range(2, 10))]


def test_merging_nothing_on_a_capacity_of_zero_is_a_counted_loss():
    made = edge(0)
    assert made.try_put(1, coalesce(lambda old, new: old)) is DROPPED
    assert made.depth() == 0
    assert made.ring().lost == {"dropped": 1}


# ---- policies of the user's ------------------------------------------------------------------------------------


class HalfFull:
    """Drops what comes beyond half the capacity."""

    def on_enqueue(self, capacity, size, item):
        return OK if size < capacity // 2 else DROPPED


class Answers:
    def __init__(self, answer):
        self.answer = answer

    def on_enqueue(self, capacity, size, item):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_any_object_with_on_enqueue_is_a_policy():
    made = edge(4, HalfFull())
    assert [made.try_put(n) for n in range(3)] == [OK, OK, DROPPED]
    out = Collect("c")
    run(chain(Burst("b", range(10)), out, capacity=4, policy=HalfFull()))
    assert out.got == [0, 1]


def test_a_custom_policy_that_blocks_parks_the_producer_and_loses_nothing():
    class Odd:
        def on_enqueue(self, capacity, size, item):
            return OK if size < 1 else BLOCKED

    out = Collect("c")
    run(chain(Burst("b", range(20)), out, capacity=4, policy=Odd()))
    assert out.got == list(range(20))


@pytest.mark.parametrize("answer", [COALESCED, None, "OK"])
def test_a_custom_answer_that_cant_be_done_is_an_error_and_changes_nothing(answer):
    made = edge(2, Answers(answer))
    with pytest.raises(ValueError, match="Answers answered"):
        made.try_put(1)
    assert made.depth() == 0


def test_a_custom_policy_that_says_ok_to_a_full_edge_is_an_error():
    made = edge(1, Answers(OK))
    assert made.try_put(1) is OK
    with pytest.raises(ValueError, match="Answers answered"):
        made.try_put(2)
    assert taken(made) == [1]


@pytest.mark.req("V9", "V14")
@pytest.mark.parametrize("answer", [COALESCED, None, RuntimeError("secret")])
def test_a_broken_policy_in_a_run_is_recorded_counted_and_stops_nothing(answer, records):
    other, broken = Collect("other"), Collect("broken")
    made = Subgraph.from_nodes("g", [TickBurst("t", range(3)), other, broken])
    made.connect(("t", "out"), ("broken", "in"), 4, Answers(answer))
    made.connect(("t", "out"), ("other", "in"))
    ran = run(made)
    report = {each.id: each for each in ran.report().edges}["t:out->broken:in"]
    assert (report.accepted, report.delivered, sum(report.lost.values())) == (3, 0, 3)
    assert broken.got == []
    assert ran.report().errors_total == 3
    assert "secret" not in str(records())
    assert other.got == [0, 1, 2]


def test_a_custom_policy_with_a_changing_mind_keeps_the_accounts():
    class Third:
        def on_enqueue(self, capacity, size, item):
            return COALESCED if item.payload % 3 == 2 else OK

    out = Collect("c")
    made = run(chain(TickBurst("t", range(6)), out, capacity=10, policy=Third()))
    assert out.got == [0, 1, 3, 4]
    (report,) = made.report().edges
    assert (report.accepted, report.delivered, report.lost) == (6, 4, {"invalid": 2})


# ---- what connect takes for a policy ---------------------------------------------------------------------------


@pytest.mark.v1("D34")
@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("block", Block),
        ("drop", Drop),
        ("latest", Latest),
        (BackpressureStrategy.BLOCK, Block),
        (BackpressureStrategy.DROP, Drop),
    ],
)
def test_names_and_the_enum_are_aliases(given, kind):
    a, c = Node("a", outputs=outputs("out")), Node("c", inputs=inputs("in"))
    made = Subgraph.from_nodes("g", [a, c])
    made.connect(("a", "out"), ("c", "in"), policy=given)
    assert type(made.edges[0].default_policy) is kind
    assert type(edge(1, given).default_policy) is kind


@pytest.mark.v1("D34", "D12")
@pytest.mark.parametrize("wrong", ["coalesce", "newest", 5, object(), Latest, RetryPolicy.NONE, True])
def test_anything_else_is_refused_at_connect(wrong):
    a, c = Node("a", outputs=outputs("out")), Node("c", inputs=inputs("in"))
    made = Subgraph.from_nodes("g", [a, c])
    with pytest.raises(TypeError):
        made.connect(("a", "out"), ("c", "in"), policy=wrong)
    assert made.edges == []
    with pytest.raises(TypeError):
        edge(1, wrong)
    with pytest.raises(TypeError):
        edge(1).try_put(1, wrong)


def test_none_stays_none():
    assert as_policy(None) is None


# ---- CONTROL ---------------------------------------------------------------------------------------------------


@pytest.mark.req("V6")
@pytest.mark.parametrize("policy", [drop(), latest(), coalesce(lambda old, new: new), HalfFull(), None])
def test_no_policy_ever_loses_a_control_message(policy):
    made = edge(2, policy)
    assert made.try_put(control(1)) is OK
    assert made.try_put(control(2)) is OK
    assert made.try_put(control(3)) is BLOCKED
    assert made.try_put(data(4)) in (DROPPED, REPLACED, COALESCED)
    assert [item.payload for item in taken(made) if item.is_control()] == [1, 2]


@pytest.mark.req("V6")
@pytest.mark.parametrize("policy", ["drop", "latest"])
def test_control_emitted_into_a_full_lossy_edge_waits_instead(policy):
    out = Collect("c")
    run(
        chain(Burst("b", [0, 1, control("a"), control("b"), 2, control("c")]), out, capacity=1, policy=policy)
    )
    assert [m.payload for m in out.messages if m.is_control()] == ["a", "b", "c"]


def test_payloads_are_read_from_messages_and_raw_items_alike():
    assert payloads([data(1), 2]) == [1, 2]


@pytest.mark.parametrize("policy", [block(), drop(), latest(), coalesce(max)])
def test_on_enqueue_takes_its_arguments_by_name(policy):
    assert policy.on_enqueue(capacity=1, size=0, item=None) is PutResult.OK
    assert policy.on_enqueue(item=None, size=1, capacity=1) is not PutResult.OK


def test_a_coalesce_policy_is_a_frozen_dataclass_with_its_function():
    made = Coalesce(max)
    assert made.fn is max
    assert made == Coalesce(max)
    with pytest.raises(AttributeError):
        made.fn = min


def test_routable_is_checked_at_run_time():
    class Routed:
        def route_key(self):
            return "left"

    assert isinstance(Routed(), Routable)
    assert not isinstance(object(), Routable)
