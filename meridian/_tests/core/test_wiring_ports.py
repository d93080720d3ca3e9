"""A port named in the middle of a wiring expression."""

import pytest

from meridian import Node, To, graph, node, sink, source

pytestmark = pytest.mark.req("V12")


@node(outputs=["ok", "bad"])
def sort(n: int) -> To:
    return To("ok" if n else "bad", n)


def show(n: int) -> None: ...


def test_an_output_named_in_the_middle_of_a_chain_is_entered_by_the_only_input():
    made = graph("g", source(range(3), name="s") >> sort["ok"] >> sink(show))
    assert [edge.id for edge in made.edges] == ["s:output->sort:input", "sort:ok->show:input"]


def test_an_input_named_in_the_middle_of_a_chain_is_left_by_the_only_output():
    merge = Node.with_ports("merge", ["a", "b"], ["out"])
    made = graph("g", source(range(3), name="s") >> merge["b"] >> sink(show))
    assert [edge.id for edge in made.edges] == ["s:output->merge:b", "merge:out->show:input"]


def test_a_name_that_both_sides_have_names_both():
    copy = Node.with_ports("copy", ["a", "b"], ["a", "b"])
    made = graph("g", source(range(3), name="s") >> copy["b"] >> sink(show))
    assert [edge.id for edge in made.edges] == ["s:output->copy:b", "copy:b->show:input"]


def test_at_the_end_of_a_chain_only_an_input_can_be_named():
    with pytest.raises(KeyError, match="no input 'ok'"):
        graph("g", source(range(3)) >> sort["ok"])


def test_an_end_that_is_still_ambiguous_is_refused():
    merge = Node.with_ports("merge", ["a", "b"], ["out"])
    with pytest.raises(TypeError, match="has the inputs 'a', 'b'"):
        graph("g", source(range(3)) >> merge["out"] >> sink(show))


def test_a_name_that_neither_side_has_is_refused():
    with pytest.raises(KeyError, match="no input 'no'"):
        graph("g", source(range(3)) >> sort["no"] >> sink(show))
