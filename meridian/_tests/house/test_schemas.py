"""The published schemas are generated from the classes that are written, and up to date."""

from pathlib import Path

import pytest

from meridian._tests.house.test_tree import load


@pytest.mark.req("N7")
def test_the_published_schemas_are_up_to_date(root: Path):
    script = load(root, "schemas")
    assert sorted(script.SCHEMAS) == sorted(
        path.relative_to(root) for path in (root / "docs" / "reference").glob("*.schema.json")
    )
    for path in script.SCHEMAS:
        assert (root / path).read_text(encoding="utf-8") == script.page(path), "run `make fmt`"
