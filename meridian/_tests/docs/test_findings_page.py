"""The page about findings lists the rules there are."""

import re
from pathlib import Path

import pytest

from meridian.introspect.findings import RULES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "findings.md"


@pytest.mark.req("N6")
def test_the_page_lists_every_rule_with_its_severity_and_meaning():
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(id, rule.severity, rule.means) for id, rule in RULES.items()]
