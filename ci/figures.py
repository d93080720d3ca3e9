"""Fills the figures of README and docs in from their records, and finds figures that have none.

    python ci/figures.py            write the pages
    python ci/figures.py --check    exit code 1 if a page is out of date, or a figure on it has no source

A record is docs/figures/NAME.json: command, date, versions, machine, values, tables. The commands that measure write
it (`--save`); nobody types a figure. A page has markers, and this script writes what stands between them:

    <!-- source: NAME -->...<!-- /source -->               command, date, versions, machine; on every page that has one of these:
    <!-- table: NAME.key -->...<!-- /table -->             a table of the record
    <!-- figure: NAME.key.key -->...<!-- /figure -->       one value
    <!-- figure: NAME.key.key .0f -->...<!-- /figure -->   the same in a format of Python's

A number with a unit of time or size, or a comparison ("3 times as fast"), is taken for a figure. Outside of markers it needs
a reason, since it may be a setting or a limit:

    <!-- not measured: why -->...<!-- /not measured -->

Code is not looked at. Decision records may keep figures in their text, with a date and the command.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asv_bench.record import Table, source

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
RECORDS = Path("docs/figures")
NEEDED = ("command", "date", "versions", "machine", "values")

MARKED = re.compile(
    r"<!-- (?P<kind>table|figure|source|not measured): (?P<what>.+?) -->(?P<text>.*?)<!-- /(?P=kind) -->",
    re.DOTALL,
)
FIRST = re.compile(r"^[ \t]*(<!-- (?:figure|not measured): [^\n]*?-->)[ \t]*\S", re.MULTILINE)
"""A comment that begins a line ends the paragraph in Markdown."""
MARKER = re.compile(r"<!-- /?(?:table|figure|source|not measured)\b.*?-->")
CODE = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,}).*?^[ \t]*(?P=fence)[ \t]*$|`[^`\n]*`", re.MULTILINE | re.DOTALL
)
NUMBER = r"\d[\d,]*(?:\.\d+)?"
FIGURE = re.compile(
    r"(?<![\w.])(?:"
    rf"{NUMBER}\s?(?:[nµum]s\b|x\b|×(?!\s*\d))"
    rf"|{NUMBER}\s(?:[kMG]i?)?(?:B|bytes)\s(?:a|per)\b"
    rf"|{NUMBER}(?:\s[a-z]+)?\s(?:a|per)\ssecond\b"
    rf"|{NUMBER}\s%\s(?:faster|slower|less|more|of\s(?:the\s)?(?:cost|speed|time|throughput))\b"
    rf"|(?:{NUMBER}|(?!(?:many|several)\b)[a-z]+)\stimes\s(?:as|faster|slower|smaller|larger|less|more|the)\b"
    r"|(?:twice|half)\sas\s(?:fast|slow|much|large|small)\b"
    r")",
)
"""What reads like a figure."""
TABLE = re.compile(r"^\|.*(?:\n\|.*)+", re.MULTILINE)
HEAD = re.compile(r"\b[nµum]s\b|\btimes as\b|\b(?:a|per) second\b|\bp(?:50|99)\b")
CELL = re.compile(rf"\|\s*{NUMBER}\s*\|")
"""Tables whose heading has the unit, and the cells bare numbers."""
LIMITS_ONLY = {"docs/reference/conformance-rules.md": "generated; its numbers are the limits that rules set"}


class FiguresError(ValueError):
    """A page quotes what no record has, or a record lacks what a reader needs."""


def load(root: Path, name: str) -> dict[str, Any]:
    """Return a record.

    Raises:
        FiguresError: there is none of that name, or it lacks something.
    """
    path = root / RECORDS / f"{name}.json"
    if not path.is_file():
        raise FiguresError(f"there is no record {RECORDS / path.name}")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if missing := [key for key in NEEDED if not record.get(key)]:
        raise FiguresError(f"{RECORDS / path.name} lacks {', '.join(missing)}")
    return record


def table(root: Path, what: str) -> str:
    """Lay a table of a record out; ``what`` is ``NAME.key``.

    Raises:
        FiguresError: no record has it.
    """
    name, _, key = what.partition(".")
    tables = load(root, name).get("tables", {})
    if key not in tables:
        raise FiguresError(f"the record {name} has no table {key}")
    return Table(**tables[key]).markdown()


def value(root: Path, what: str) -> str:
    """Return one value as a page shows it; ``what`` is ``NAME.key.key``, perhaps with a format.

    Raises:
        FiguresError: no record has it.
    """
    path, _, format = what.partition(" ")
    name, *keys = path.split(".")
    found: Any = load(root, name)["values"]
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            raise FiguresError(f"the record {name} has no value {'.'.join(keys)}")
        found = found[key]
    if not isinstance(found, int | float):
        raise FiguresError(f"{path} is no number")
    return f"{found:{format or ','}}"


def fill(root: Path, text: str) -> str:
    """Return a page with what its markers ask for.

    Raises:
        FiguresError: a marker asks for what there isn't, or a figure stands on a page without its source.
    """
    code = [found.span() for found in CODE.finditer(text)]
    marked = [each for each in MARKED.finditer(text) if not any(a <= each.start() < b for a, b in code)]
    sourced = {each["what"] for each in marked if each["kind"] == "source"}
    live = {each.start() for each in marked}

    def replace(found: re.Match[str]) -> str:
        if found.start() not in live:
            return found.group()  # an example
        kind, what, old = found["kind"], found["what"], found["text"]
        if kind in ("figure", "table") and (name := what.partition(".")[0]) not in sourced:
            raise FiguresError(f"{what} is quoted, and the page has no source of {name}")
        if kind == "figure":
            new = value(root, what)
        elif kind == "table":
            new = f"\n\n{table(root, what)}\n\n"
        elif kind == "source":
            new = f"\n\n{source(load(root, what))}\n\n"
        else:
            new = old
        return f"<!-- {kind}: {what} -->{new}<!-- /{kind} -->"

    return MARKED.sub(replace, text)


def unsourced(text: str) -> list[str]:
    """Return what reads like a figure and stands neither in a marker nor in code; and markers that are none."""
    plain = MARKED.sub(" ", CODE.sub("``", text))
    found = [" ".join(each.group().split()) for each in (*MARKER.finditer(plain), *FIGURE.finditer(plain))]
    for table in TABLE.findall(plain):
        head, _, cells = table.partition("\n")
        if HEAD.search(head) and CELL.search(cells):
            found.append(head)
    return found


def pages(root: Path) -> Iterator[Path]:
    """Yield the pages that may show figures."""
    yield from (path for path in (root / "README.md", root / "CHANGELOG.md") if path.is_file())
    yield from sorted((root / "docs").rglob("*.md"))


def decided_by_measuring(text: str) -> bool:
    """Say whether a decision record names a day and a command."""
    return bool(
        re.search(r"\b20\d\d-\d\d-\d\d\b", text) and re.search(r"`[^`\n]*(?:make|python|ci/)[^`\n]*`", text)
    )


def there_is(root: Path, command: str) -> bool:
    """Say whether a command is a verb of the Makefile, or a module that can be run."""
    words = command.split()
    if words[0] == "make":
        verbs = re.findall(r"^([a-z0-9-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return next((word for word in words[1:] if not word.startswith("-")), "") in verbs
    if words[:2] == ["python", "-m"] and len(words) > 2:
        module = root.joinpath(*words[2].split("."))
        return module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()
    return False


def records(root: Path) -> list[str]:
    """Return what is wrong with the records themselves: incomplete, not to be repeated, or quoted nowhere."""
    quoted = {
        what.partition(".")[0]
        for page in pages(root)
        for _, what, _ in MARKED.findall(page.read_text("utf-8"))
    }
    found = []
    for path in sorted((root / RECORDS).glob("*.json")):
        name = path.relative_to(root).as_posix()
        try:
            command = load(root, path.stem)["command"]
        except FiguresError as error:
            found.append(str(error))
            continue
        if not there_is(root, command):
            found.append(f"{name}: there is no command {command!r}")
        if path.stem not in quoted:
            found.append(f"{name}: no page quotes it")
    return found


def problems(root: Path) -> list[str]:
    """Return what is wrong with the figures of all pages, a line each."""
    found = records(root)
    for page in pages(root):
        name = page.relative_to(root).as_posix()
        text = page.read_text(encoding="utf-8")
        try:
            if fill(root, text) != text:
                found.append(f"{name}: out of date, run `make fmt`")
        except FiguresError as error:
            found.append(f"{name}: {error}")
        if name in LIMITS_ONLY or (name.startswith("docs/decisions/") and decided_by_measuring(text)):
            continue
        found += [f"{name}: {figure!r} has no source" for figure in unsourced(text)]
        found += [
            f"{name}: {marker!r} must not begin a line" for marker in FIRST.findall(CODE.sub("``", text))
        ]
    return found


def main(argv: list[str], root: Path = ROOT) -> int:
    """Write the pages or check them; return the exit code."""
    if argv not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    if not argv:
        for page in pages(root):
            text = page.read_text(encoding="utf-8")
            try:
                filled = fill(root, text)
            except FiguresError as error:
                print(f"{page.relative_to(root)}: {error}", file=sys.stderr)
                return 1
            if filled != text:
                page.write_text(filled, encoding="utf-8")
        return 0
    found = problems(root)
    for line in found:
        print(line, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
