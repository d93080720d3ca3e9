"""Checks the names of the change fragments, so that none is left out of the changelog.

    python ci/check_fragments.py

A fragment is `docs/changes/<id>.<kind>.md`: the id is a requirement, an issue number or a short slug; the kinds are
those of `[tool.towncrier]` in pyproject.toml. Exit code 1 names every file that is not one, or is empty.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def problems(root: Path = ROOT) -> list[str]:
    """Return one sentence for each file in docs/changes that is neither a fragment nor the README."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["towncrier"]
    kinds = [kind["directory"] for kind in settings["type"]]
    name = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]*\.({'|'.join(kinds)})(\.[0-9]+)?\.md")
    found: list[str] = []
    for path in sorted((root / settings["directory"]).iterdir()):
        if path.name in settings["ignore"]:
            continue
        if not name.fullmatch(path.name):
            found.append(f"{path.name}: not <id>.<kind>.md with a kind of {', '.join(kinds)}")
        elif not path.read_text(encoding="utf-8").strip():
            found.append(f"{path.name}: empty; one sentence in the past tense says what changed for users")
    return found


def main() -> int:
    """Print every problem; return the exit code."""
    found = problems()
    for problem in found:
        print(f"docs/changes/{problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
