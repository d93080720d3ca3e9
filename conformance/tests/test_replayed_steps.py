"""A replay tells what came of each step now, not what the file says came of it then."""

import pytest

from meridian_conformance.failures import Step, Trace
from meridian_conformance.reference import ReferenceBackend
from meridian_conformance.replay import replay


@pytest.mark.req("X5")
def test_a_backend_that_keeps_the_rule_is_shown_with_its_own_answers():
    steps = (
        Step("put", (0,), "OK", "OK"),
        Step("put", (1,), "DROPPED", "DROPPED"),
        Step("get", (), "0", "1"),
    )
    trace = Trace("EDGE-111", "edge", "2.0.0", {"capacity": 1, "policy": "drop"}, steps)
    violations, played = replay(ReferenceBackend(), trace)
    assert violations == []
    assert [step.got for step in played] == ["OK", "DROPPED", "0"]
