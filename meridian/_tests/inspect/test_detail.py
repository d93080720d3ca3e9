"""What the details of a node say of one that hangs."""

import pytest

from meridian._tests.inspect.parts import node, shot
from meridian.inspect.detail import of_node
from meridian.inspect.history import History
from meridian.introspect import Frame

WHERE = Frame("Db.connect", "db.py", 41)


def details(of):
    return of_node(of, shot([of], []), History(), 80)


@pytest.mark.req("N6", "N7")
def test_a_hook_that_goes_on_is_named_with_its_age_and_where_it_awaits():
    lines = details(node("db", "starting", state="unstarted", hook="on_start", hook_s=12.0, waits_in=WHERE))
    assert "doing         △ starting (unstarted)" in lines
    assert "in            on_start, for 12.0 s" in lines
    assert "awaits in     Db.connect, db.py:41" in lines


@pytest.mark.req("N6", "N7")
def test_a_node_that_awaits_nothing_has_no_line_for_it():
    heads = {line[:14].rstrip() for line in details(node("parse"))}
    assert not heads & {"in", "awaits in"}
