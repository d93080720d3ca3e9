"""Writes docs/reference/*.schema.json: the JSON Schemas of what Meridian writes, from the classes that are written.

python ci/schemas.py            write the files
python ci/schemas.py --check    exit code 1 if one is out of date
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

from ci.generated_page import write_or_check
from meridian.cli.schema import PUBLISHED

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = {Path(f"docs/reference/{name}.schema.json"): make for name, make in PUBLISHED.items()}


def page(path: Path) -> str:
    """Return the text of one file."""
    return json.dumps(SCHEMAS[path](), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(max(write_or_check(sys.argv[1:], __doc__, ROOT, path, partial(page, path)) for path in SCHEMAS))
