"""Boxes and lines: nothing overlaps, lines go where they should, and not through boxes."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.inspect.drawing import Drawing, Face, Faces, Label, faces
from meridian.inspect.fold import Folded, Link, around, box_of, fold
from meridian.inspect.layout import LABEL, lay_out

pytestmark = pytest.mark.req("N6")


def link(source: str, target: str, port: str = "output") -> Link:
    return Link(f"{source}:{port}->{target}:input", source, port, target)


def drawn(names: str, *links: Link, selected: str | None = None) -> str:
    drawing = Drawing(lay_out(list(names), links))
    boxes = {name: Face(name, "", "", "box.idle") for name in names}
    return drawing.text(Faces(boxes, {each.id: Label("", "line") for each in links}), selected)


def test_a_chain_goes_from_left_to_right():
    assert drawn("ab", link("a", "b"), selected="b").splitlines() == [
        "┌───────────────┐             ╔═══════════════╗",
        "│       a       │────────────▶║       b       ║",
        "│               │             ║               ║",
        "└───────────────┘             ╚═══════════════╝",
    ]


def test_edges_of_one_output_part_and_meet_again():
    links = (link("a", "b"), link("a", "c"), link("b", "d"), link("c", "d"))
    assert drawn("abcd", *links).splitlines() == [
        "                               ┌───────────────┐",
        "                  ╭───────────▶│       b       │─╮",
        "┌───────────────┐ │            │               │ │            ┌───────────────┐",
        "│       a       │─┤            └───────────────┘ ╰───────────▶│       d       │",
        "│               │ │                              ╭───────────▶│               │",
        "└───────────────┘ │            ┌───────────────┐ │            └───────────────┘",
        "                  ╰───────────▶│       c       │─╯",
        "                               │               │",
        "                               └───────────────┘",
    ]


def test_an_edge_that_closes_a_cycle_runs_back_and_one_to_itself_is_a_mark():
    text = drawn("ab", link("a", "b"), link("b", "a"), link("b", "b"))
    assert (text.count("▶"), text.count("◀"), text.count("↻")) == (1, 1, 1)


def test_a_line_says_what_its_edge_holds_and_lost_and_a_box_what_its_node_does(made):
    shot = made.shop()
    folded = fold(shot.nodes, shot.edges, set())
    shown = faces(folded, {each.name: each for each in shot.nodes}, {each.id: each for each in shot.edges})
    assert shown.boxes["stock"] == Face("▸ stock", "◐ 2 nodes", "◐ 2", "box.working")
    assert shown.boxes["parse"] == Face("parse", "● running 200/s ✗2", "● 200/s ✗2", "box.running")
    assert shown.labels["parse:output->screen:input"] == Label("█1 -3", "line.loss")
    assert shown.labels["orders:output->parse:input"] == Label("█1.0k", "line.full")
    assert shown.labels["write:output->orders:input"] == Label("", "line")


def test_subgraphs_are_boxes_until_they_are_unfolded_one_level_at_a_time(made):
    assert [box_of("a/b/c", unfolded) for unfolded in (set(), {"a"}, {"a", "a/b"}, {"a/b"})] == [
        "a", "a/b", "a/b/c", "a",
    ]  # fmt: skip
    shot = made.shop()
    assert list(fold(shot.nodes, shot.edges, set()).boxes) == ["orders", "parse", "stock", "write", "screen"]
    assert "stock/book" in fold(shot.nodes, shot.edges, {"stock"}).boxes


def test_names_that_redaction_made_equal_are_one_box(made):
    same = [made.node("[redacted]"), made.node("[redacted]")]
    folded = fold(same, [made.edge("[redacted]", "[redacted]")] * 2, set())
    assert (folded.boxes, len(folded.links)) == ({"[redacted]": ("[redacted]",)}, 1)


def test_of_a_large_graph_the_nearest_boxes_are_drawn():
    names = [str(i) for i in range(100)]
    whole = Folded({name: (name,) for name in names}, tuple(link(a, b) for a, b in pairwise(names)))
    part = around(whole, "50", 7)
    assert list(part.boxes) == ["47", "48", "49", "50", "51", "52", "53"]
    assert len(part.links) == 6


def test_wide_and_combining_characters_keep_the_columns():
    drawing = Drawing(lay_out(["東京", "e\u0301te\u0301"], [link("東京", "e\u0301te\u0301")]))
    rows = drawing.text(Faces({}, {})).splitlines()
    assert rows[1] == "│     東京      │────────────▶│      e\u0301te\u0301      │"


GRAPHS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from("xy")), max_size=24),
    )
)


@settings(max_examples=60, deadline=None)
@given(GRAPHS)
def test_boxes_do_not_overlap_and_lines_do_not_go_through_them(graph):
    n, ends = graph
    names = [f"n{i}" for i in range(n)]
    links = {(each := link(f"n{a}", f"n{b}", port)).id: each for a, b, port in ends}
    layout = lay_out(names, links.values())
    inside = {}
    for box in layout.boxes.values():
        for x in range(box.x, box.x + box.width):
            for y in range(box.y, box.y + box.height):
                assert inside.setdefault((x, y), box.name) == box.name
    assert set(layout.boxes) == set(names)
    loops = {id for ids in layout.loops.values() for id in ids}
    assert set(layout.routes) | loops == set(links)
    for route in layout.routes.values():
        (x1, y1), (x2, y2) = route.points[0], route.points[-1]
        source, target = links[route.id].source, links[route.id].target
        before, after = (x1 + 1, x2 - 1) if route.is_back else (x1 - 1, x2 + 1)
        assert (inside[before, y1], inside[after, y2]) == (source, target)
        for (xa, ya), (xb, yb) in zip(route.points, route.points[1:], strict=False):
            assert xa == xb or ya == yb
            for x in range(min(xa, xb), max(xa, xb) + 1):
                for y in range(min(ya, yb), max(ya, yb) + 1):
                    assert (x, y) not in inside
        x, y = route.label
        assert all((i, y) not in inside for i in range(x, x + LABEL))
    assert lay_out(names, links.values()) == layout  # the same graph looks the same
