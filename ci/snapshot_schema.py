"""Writes docs/reference/snapshot.schema.json: the JSON Schema of a snapshot, from its classes.

python ci/snapshot_schema.py            write the file
python ci/snapshot_schema.py --check    exit code 1 if the file is out of date
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ci.generated_page import write_or_check
from meridian.introspect.schema import snapshot_schema

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path("docs/reference/snapshot.schema.json")


def page() -> str:
    """Return the text of the file."""
    return json.dumps(snapshot_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(write_or_check(sys.argv[1:], __doc__, ROOT, PAGE, page))
