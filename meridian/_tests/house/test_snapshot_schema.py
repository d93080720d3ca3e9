"""The published schema of a snapshot is generated from its classes, and up to date."""

from pathlib import Path

import pytest

from meridian._tests.house.test_tree import load


@pytest.mark.req("N7")
def test_the_schema_of_a_snapshot_is_up_to_date(root: Path):
    script = load(root, "snapshot_schema")
    assert (root / script.PAGE).read_text(encoding="utf-8") == script.page(), "run `make fmt`"
