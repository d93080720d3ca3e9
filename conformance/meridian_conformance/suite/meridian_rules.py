"""One test for each rule of the chosen profiles."""

from __future__ import annotations

import pytest

from meridian_conformance.plugin import RUN
from meridian_conformance.reports import junit
from meridian_conformance.verdicts import Verdict


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each rule of the chosen profiles."""
    run = metafunc.config.stash[RUN]
    cases = [
        pytest.param(rule.id, id=f"{rule.profile}-{rule.id}", marks=pytest.mark.rule(rule.id))
        for rule in run.rules()
    ]
    metafunc.parametrize("rule", cases)


def test_rule(rule: str, request: pytest.FixtureRequest) -> None:
    """The backend keeps the rule."""
    run = request.config.stash[RUN]
    found = run.found(rule)
    # Not by `record_property`, which warns where JUnit files are to be of the stricter kind.
    request.node.user_properties.extend(junit.properties(found).items())
    match junit.outcome(found):
        case "passed":
            return
        case "skipped" if found.verdict in (Verdict.FAIL, Verdict.WAIVED):
            pytest.xfail(junit.message(found))  # broken, and that is nobody's exit code
        case "skipped":
            pytest.skip(junit.message(found))
        case _:
            assert run.result is not None
            folder = None if run.out is None else str(run.out)
            pytest.fail(f"{junit.message(found)}\n\n{junit.story(run.result, found, folder)}", pytrace=False)
