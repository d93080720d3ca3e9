"""The page about bundles lists what there is, and no more."""

import re
from pathlib import Path

import pytest

from meridian.diagnostics.configuration import NAMES
from meridian.diagnostics.environment import VARIABLES
from meridian.diagnostics.manifest import CATALOGUE
from meridian.observability.logging import RECENT_KEYS

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reference" / "bundle.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.req("N1", "N1.1", "X2")


def listed(before: str, after: str) -> list[str]:
    """The names in a sentence."""
    text = PAGE.partition(before)[2].partition(after)[0]
    assert text, f"the page doesn't say {before!r}"
    return re.findall(r"`([^`]+)`", text)


def test_the_page_lists_every_member():
    rows = re.findall(r"^\| `([a-z.]+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows == [(kind.name, kind.means) for kind in CATALOGUE]


def test_the_page_lists_every_variable_file_and_key_of_a_record():
    assert listed("by name and value: ", ". The value") == sorted(
        n for n, known in VARIABLES.items() if known
    )
    assert listed("by name only: ", ". All") == sorted(n for n, known in VARIABLES.items() if not known)
    assert listed("in the project's folder: ", ". Of each") == list(NAMES)
    assert listed("each with those of ", " that it has") == list(RECENT_KEYS)


def test_the_page_shows_every_class_that_a_member_is_made_of():
    shown = set(re.findall(r"^::: meridian\.diagnostics\.(\w+)\.(\w+)$", PAGE, re.MULTILINE))
    for module in ("environment", "configuration", "runtime", "topology", "manifest"):
        source = (ROOT / "meridian" / "diagnostics" / f"{module}.py").read_text(encoding="utf-8")
        made = re.findall(r"^@dataclass\(frozen=True, slots=True\)\nclass (\w+)", source, re.MULTILINE)
        assert {(module, name) for name in made} <= shown
