"""Every page does what it says: its Python blocks run, its links lead somewhere.

Each block runs in a namespace and a working directory of its own; the blocks of one page share one process, and the
observability of that process is put back between them. Where a block is followed by one that is titled "prints", the two
are compared.
"""

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[3]
SECONDS_PER_PAGE = 90

RUNNER = Path(__file__).with_name("run_blocks.py")

FENCE = re.compile(
    r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"(?<!\!)\[[^\]\n]*\]\((?P<target>[^)\s]+)[^)]*\)|!\[[^\]]*\]\((?P<image>[^)\s]+)\)")
HEADING = re.compile(r"^#{1,6}\s+(?P<text>.+?)\s*(?:\{#(?P<id>[\w-]+)\})?\s*$", re.MULTILINE)

DECIDED = {
    "0001": "scheduler core and callback adapter",
    "0002": "annotated results",
    "0003": "edge holds its ring",
    "0004": "foreign threads",
    "0005": "CONTROL counts toward capacity",
    "0006": "trace context",
}


class Block(NamedTuple):
    line: int
    info: str
    text: str


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        body = textwrap.dedent(found["text"]) if found["indent"] else found["text"]
        yield Block(text.count("\n", 0, found.start()) + 1, found["info"].strip(), body)


def runnable(page: Path) -> list[dict[str, object]]:
    """The Python blocks of a page, each with what it has to print, or None."""
    found = []
    last = None
    for block in blocks(page):
        if block.info == "python" or block.info.startswith("python "):
            last = {"line": block.line, "source": block.text, "prints": None}
            found.append(last)
        else:
            if last is not None and 'title="prints"' in block.info:
                last["prints"] = block.text
            last = None
    return found


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in pages() if runnable(page)], ids=name)
def test_the_python_blocks_of_a_page_run_and_print_what_it_says(page: Path, tmp_path: Path):
    task = tmp_path / "blocks.json"
    task.write_text(json.dumps({"page": name(page), "blocks": runnable(page)}), encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(RUNNER), str(task)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS_PER_PAGE,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        begun = (expired.stdout or b"").decode().splitlines()
        pytest.fail(f"{name(page)} took longer than {SECONDS_PER_PAGE} s; it began {begun[-1:]}")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-4000:]}"


def test_no_block_is_called_python_without_being_run():
    marked = [
        f"{name(page)}:{block.line}"
        for page in pages()
        for block in blocks(page)
        if re.match(r"(python|py)\b", block.info)
        and block.info != "python"
        and not re.match(r'python title="', block.info)
    ]
    assert marked == []  # text for what can't run; no options that would hide a block


def test_every_link_within_the_project_leads_somewhere():
    lost = []
    for page in pages():
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        text = re.sub(r"`[^`\n]*`", "", text)
        for found in LINK.finditer(text):
            target = found["target"] or found["image"]
            if re.match(r"[a-z][a-z+.-]*:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                lost.append(f"{name(page)}: {target}")
            elif anchor and file.suffix == ".md" and anchor not in anchors(file):
                lost.append(f"{name(page)}: {target} (no such heading)")
    assert lost == []


def anchors(page: Path) -> set[str]:
    """The ids of a page's headings, made as the documentation tool makes them."""
    made = set()
    for found in HEADING.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))):
        plain = re.sub(r"[^\w\s-]", "", found["text"].replace("`", "")).strip().lower()
        made.add(found["id"] or re.sub(r"[-\s]+", "-", plain))
    return made


@pytest.mark.req("X6")
@pytest.mark.parametrize("number", DECIDED)
def test_a_decision_record_says_what_was_decided_why_and_what_would_reopen_it(number: str):
    (page,) = (ROOT / "docs" / "decisions").glob(f"{number}-*.md")
    text = page.read_text(encoding="utf-8")
    assert DECIDED[number].lower() in text.splitlines()[0].lower()
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections == ["Context", "Decision", "Consequences", "What would make us revisit it"]
    assert len(text.splitlines()) < 80  # records are read


def test_every_decision_record_is_listed():
    records = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    index = (ROOT / "docs" / "decisions" / "index.md").read_text(encoding="utf-8")
    assert [each for each in records if f"({each})" not in index] == []
