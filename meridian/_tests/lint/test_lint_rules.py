"""Each rule finds what its bad example shows, and nothing in the good one."""

import pytest

from meridian.lint import LEVELS, find_rule, lint, rules
from meridian.lint.linting import OF_THEMSELVES
from meridian.lint.model import looks

pytestmark = pytest.mark.req("N1.3")


@pytest.mark.parametrize("id", rules())
def test_a_rule_finds_what_its_bad_example_shows(load, id):
    found = lint(load(rules()[id].bad))
    assert id in {each.rule for each in found}
    assert all(each.why and each.fix and each.level in LEVELS for each in found)


@pytest.mark.parametrize("id", rules())
def test_nothing_but_notes_is_found_in_a_good_example(load, id):
    found = lint(load(rules()[id].good))
    assert [str(each) for each in found if each.level != "note" or each.rule == id] == []


def test_every_rule_has_a_function_that_looks_or_is_told_along_the_way():
    assert len(rules()) >= 15
    assert {*looks, *OF_THEMSELVES} == set(rules())
    assert set(looks).isdisjoint(OF_THEMSELVES)


def test_an_unknown_rule_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match="there is no rule 'blocking-cal': did you mean 'blocking-call'"):
        find_rule("blocking-cal")
