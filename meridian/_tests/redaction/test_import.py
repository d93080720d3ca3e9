"""What is imported when: a program that starts doesn't wait for rules and detectors."""

import subprocess
import sys
from types import FunctionType

import pytest

import meridian.redaction

pytestmark = pytest.mark.req("X2")

LATER = ("policy", "applied", "vocabulary", "detectors", "patterns", "actions")


def loaded_after(code: str) -> list[str]:
    """Return which of ``LATER`` a fresh interpreter has imported after ``code``."""
    asks = f"{code}\nimport sys\nprint(*(each for each in {LATER} if f'meridian.redaction.{{each}}' in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    return ran.stdout.split()


def test_rules_are_imported_when_something_leaves_and_not_before():
    assert loaded_after("import meridian, meridian.redaction") == []
    assert set(loaded_after("from meridian.redaction import redactor; redactor()")) == set(LATER)


def test_what_is_imported_later_takes_no_other_names_place():
    for name in meridian.redaction.__all__:
        assert getattr(meridian.redaction, name).__name__ == name
    assert isinstance(meridian.redaction.redactor, FunctionType)
    assert set(meridian.redaction.__all__) <= set(dir(meridian.redaction))


def test_a_name_that_is_not_there_is_refused_as_ever():
    with pytest.raises(AttributeError, match=r"module 'meridian\.redaction' has no attribute 'Rulebook'"):
        getattr(meridian.redaction, "Rulebook")  # noqa: B009 - a checker would refuse the plain attribute
