"""Where edges are declared is recorded, but only while somebody asks."""

import inspect

import pytest

from meridian import Node, graph, sink, via
from meridian.core import places

pytestmark = pytest.mark.req("N1.3")


def wires(name: str) -> Node:
    return Node.with_ports(name, ["in"], ["out"])


def build():
    a, b, c = wires("a"), wires("b"), wires("c")
    made = graph(
        "g",
        a >> b,
        b
        >> via(
            capacity=3,
        )
        >> [c, sink(print)],
    )
    made.connect(("c", "out"), ("a", "in"))  # the last one
    return made


def relative(place: places.Place) -> tuple[int, int]:
    first = inspect.getsourcelines(build)[1]
    return place.line - first, place.last - first


def test_the_lines_are_those_of_the_connect_call_or_of_the_right_end_and_its_options():
    with places.recorded() as kept:
        made = build()
    found = [kept.of(edge) for edge in made.edges]
    assert {place.file for place in found} == {__file__}
    assert [relative(place) for place in found] == [(4, 4), (8, 9), (8, 9), (11, 11)]


def test_without_asking_nothing_is_recorded():
    with places.recorded() as kept:
        pass
    made = build()
    assert [kept.of(edge) for edge in made.edges] == [None] * 4
    assert places.current is None


def test_who_asks_within_another_one_gets_the_rest_of_it():
    with places.recorded() as outer:
        with places.recorded() as inner:
            first = build()
        second = build()
    assert inner.of(first.edges[0]) is not None
    assert outer.of(first.edges[0]) is None
    assert outer.of(second.edges[0]) is not None


def test_code_without_a_file_of_its_own_is_named_as_it_names_itself():
    names = {"wires": wires}
    code = "from meridian import graph\nmade = graph('g',\n    wires('a')\n    >> wires('b'))"
    with places.recorded() as kept:
        exec(compile(code, "<typed>", "exec"), names)
    assert kept.of(names["made"].edges[0]) == places.Place("<typed>", 4, 4)
