"""Numbers and shares in few cells."""

from typing import Any

import pytest

from meridian.inspect import words
from meridian.inspect.columns import EDGES, GAP, NODES, fit, told
from meridian.inspect.history import History, distribution
from meridian.inspect.summary import numbers
from meridian.introspect import Shares

pytestmark = pytest.mark.req("N6")


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "–"), (0, "0"), (7, "7"), (0.04, "0.04"), (0.5, "0.5"), (9.96, "10"), (999, "999"), (999.6, "1.0k"), (1024, "1.0k"),
     (9_960, "10k"), (38_400_000, "38M"), (-1200, "-1.2k"), (1e15, "1.0P"), (1e30, "lots")],
)  # fmt: skip
def test_numbers_take_at_most_five_cells(number, text):
    assert words.short(number) == text
    assert len(text) <= 5


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "–"), (0.0, "0 µs"), (0.0009996, "1 ms"), (0.25, "250 ms"), (0.9996, "1.0 s"), (99.6, "2 min"), (3600 * 5, "5 h"),
     (86_400 * 9, "9 d")],
)  # fmt: skip
def test_times_take_at_most_six_cells(number, text):
    assert words.seconds(number) == text
    assert len(text) <= 6


def test_shares_of_a_node_fill_their_bar_exactly():
    for busy in range(11):
        for blocked in range(11 - busy):
            spent = Shares(busy / 10, blocked / 10, 1 - (busy + blocked) / 10)
            assert len(words.shares(spent, 7)) == 7
    assert words.shares(Shares(0.5, 0.3, 0.2), 10) == "█████▒▒▒··"
    assert words.shares(None, 4) == "–   "


def test_a_text_that_is_too_long_shows_both_ends():
    assert words.cut("parse:output->write:input", 11) == "parse…input"
    assert (words.cut("abc", 3), words.cut("abcd", 2), words.cut("東京都", 5)) == ("abc", "ab", "東…都")
    assert words.pad("東", 4, ">") == "  東"


def test_a_sparkline_is_as_high_as_its_top():
    assert words.sparkline([0, 1, 2, 4], 6, 4) == "  ·▃▅█"
    assert words.sparkline([], 3) == "   "


def test_columns_of_little_importance_give_way():
    heads = [column.head for column, _ in fit(NODES, 80)]
    assert heads == ["Node", "Doing", "Spent", "Busy", "Blkd", "Per s", "Err", "Wait", "Waits for"]
    assert [column.head for column, _ in fit(EDGES, 200)] == [column.head for column in EDGES]
    tables: tuple[Any, ...] = (NODES, EDGES)
    for columns in tables:
        for width in range(80, 200):
            assert sum(cells + GAP for _, cells in fit(columns, width)) - GAP <= width


@pytest.mark.parametrize(
    ("head_age_s", "stalled_s", "shown"),
    [(None, None, "–"), (0.0, 0.0, "–"), (0.25, None, "250 ms"), (0.0, 2.0, "2.0 s"), (3.0, 2.0, "3.0 s")],
)
def test_an_age_of_nothing_is_no_age_since_a_look_knows_only_how_long_a_head_waited_at_least(
    made, head_age_s, stalled_s, shown
):
    head = next(column for column in EDGES if column.head == "Head")
    assert head.text(made.edge("a", "b", head_age_s=head_age_s, stalled_s=stalled_s)) == shown


@pytest.mark.parametrize("cause", ["replaced", "expired", "coalesce_error"])
def test_an_edge_whose_heads_are_lost_may_stand_still_and_have_a_young_one(made, cause):
    head = next(column for column in EDGES if column.head == "Head")
    assert head.text(made.edge("a", "b", stalled_s=9.0, lost={"dropped": 4})) == "9.0 s"
    assert head.text(made.edge("a", "b", stalled_s=9.0, lost={cause: 4})) == "–"
    assert head.text(made.edge("a", "b", stalled_s=9.0, lost={cause: 4}, head_age_s=0.25)) == "250 ms"


@pytest.mark.parametrize(
    ("nodes", "edges", "said"),
    [(1, 0, "1 node · 0 edges"), (2, 1, "2 nodes · 1 edge"), (1200, 2, "1,200 nodes · 2 edges")],
)
def test_one_node_and_one_edge_are_not_several(made, nodes, edges, said):
    assert numbers(made.shot([made.node("a")] * nodes, [made.edge("a", "b")] * edges)) == said


def test_an_event_tells_what_its_kind_fills(made):
    assert [told(each) for each in made.EVENTS] == [
        "6 so far",
        "ValueError in on_message at shop.py:12 parse [redacted] 1 so far",
        "replaced 1× 1 so far",
    ]


def test_history_is_bounded_in_length_and_number_and_begins_anew_with_a_run(made):
    history = History(length=3, most=4)
    for step in range(5):
        history.add(made.shop(step))
    assert [round(each, 2) for each in history.of("parse", "busy")] == [0.7, 0.75, 0.6]
    assert history.forgone > 0
    history.add(made.shot([made.node("a")], [], run="4321-2"))
    assert (history.looks, list(history.of("parse", "busy"))) == (1, [])


def test_a_distribution_counts_every_value_once():
    assert distribution([]) == []
    assert distribution([2.0, 2.0]) == [(2.0, 2.0, 2)]
    bins = distribution([0, 1, 2, 3, 4, 6], 3)
    assert [n for _, _, n in bins] == [2, 2, 2]
