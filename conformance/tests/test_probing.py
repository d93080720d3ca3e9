"""What isn't claimed is offered only where it was really tried."""

from types import SimpleNamespace

import pytest

from meridian_conformance import rules, runner
from meridian_conformance.require import Judge

pytestmark = pytest.mark.req("X5")


def tried(rule: str, **counted: int) -> bool:
    judge = Judge()
    for name, n in zip(rules.find(rule).situations, counted.values(), strict=False):
        judge.situations[rule, name] = n
    return runner._occurred(rules.find(rule), SimpleNamespace(judge=judge))


@pytest.mark.parametrize(("often", "offered"), [(19, False), (20, True)])
def test_a_rule_that_takes_luck_to_break_has_to_be_tried_as_often_as_for_a_verdict(often: int, offered: bool):
    assert rules.find("EDGE-140").kind == "stochastic"
    assert tried("EDGE-140", one=often, two=500, three=500) is offered


def test_a_rule_that_takes_no_luck_has_to_be_tried_at_all():
    assert tried("EDGE-108", one=1)
    assert not tried("EDGE-108")
