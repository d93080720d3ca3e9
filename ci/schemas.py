"""Writes docs/reference/*.schema.json: the JSON Schemas of what Meridian writes, from the classes that are written.

python ci/schemas.py            write the files
python ci/schemas.py --check    exit code 1 if one is out of date
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ci.generated_page import write_or_check
from meridian.diagnostics.schema import manifest_schema
from meridian.introspect.schema import comparison_schema, profile_schema, snapshot_schema

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS: dict[Path, Callable[[], dict[str, Any]]] = {
    Path("docs/reference/snapshot.schema.json"): snapshot_schema,
    Path("docs/reference/profile.schema.json"): profile_schema,
    Path("docs/reference/comparison.schema.json"): comparison_schema,
    Path("docs/reference/bundle-manifest.schema.json"): manifest_schema,
}


def page(path: Path) -> str:
    """Return the text of one file."""
    return json.dumps(SCHEMAS[path](), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(max(write_or_check(sys.argv[1:], __doc__, ROOT, path, partial(page, path)) for path in SCHEMAS))
