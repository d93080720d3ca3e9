"""The page about the node library lists the nodes there are."""

import re
from pathlib import Path

from meridian.nodes.catalogue import catalogue

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "node-library.md"


def test_the_page_lists_every_node_with_its_summary():
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE)
    shown = [(entry.name, entry.summary.replace("``", "`").replace("|", "\\|")) for entry in catalogue()]
    assert rows == shown


def test_the_page_shows_every_module_of_the_library():
    text = PAGE.read_text(encoding="utf-8")
    modules = dict.fromkeys(entry.module for entry in catalogue())
    assert re.findall(r"^::: (\S+)$", text, re.MULTILINE) == [
        *modules,
        "meridian.nodes.base",
        "meridian.nodes.catalogue",
    ]
