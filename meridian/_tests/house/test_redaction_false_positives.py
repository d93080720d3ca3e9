"""How often redaction takes something harmless for a secret: in the project's own pages and code, and in a server's log.

`MERIDIAN_ACCESS_LOG` names a real log to measure, where there is one; else it is the one that the example makes up.
"""

import importlib.util
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from meridian.redaction import Policy, Redactor

CHECKED_BY_SUM = {"card", "iban", "phone", "ipv6", "jwt", "private_key", "aws_key", "url_credentials"}


def rules_applied(lines: list[str]) -> tuple[Counter[str], list[str]]:
    one = Redactor(Policy())
    shown = [one.document(line) for line in lines]
    return Counter(one.counts.read()), shown


def log_lines(root: Path) -> list[str]:
    real = os.environ.get("MERIDIAN_ACCESS_LOG")
    if real:
        return Path(real).read_text(encoding="utf-8", errors="replace").splitlines()
    path = root / "docs" / "examples" / "access_log" / "sample.py"
    spec = importlib.util.spec_from_file_location("access_log_sample_for_redaction", path)
    assert spec is not None
    assert spec.loader is not None
    sample = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sample)
    return [line.decode("utf-8", "replace").rstrip() for line in sample.lines(3000)]


SHOW_SECRETS = ("redact", "send-a-bundle")
"""Pages and code that show some on purpose, to say what becomes of them."""


@pytest.mark.req("N1")
def test_the_projects_pages_and_code_have_hardly_anything_to_redact(root: Path):
    files = [*(root / "docs").rglob("*.md"), *(root / "meridian").rglob("*.py"), root / "README.md"]
    lines = [
        line
        for file in files
        if not any(part in file.relative_to(root).as_posix() for part in ("_tests", *SHOW_SECRETS))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    applied, _ = rules_applied(lines)
    assert len(lines) > 10_000
    assert applied.keys().isdisjoint(CHECKED_BY_SUM)
    # One line in two thousand, and those have an example address or "secret:" in them.
    assert applied.total() <= len(lines) / 2000


@pytest.mark.req("N1", "X2")
def test_a_servers_log_keeps_all_but_addresses_and_tokens(root: Path):
    lines = log_lines(root)
    applied, shown = rules_applied(lines)
    assert applied.keys() <= {"ipv4", "ipv6", "email", "random_token"}
    assert applied["random_token"] <= len(lines) / 10  # of a search engine, in addresses it came from
    assert applied["email"] <= len(lines) / 20  # of crawlers' owners
    assert not re.search(r"(?m)^\d+\.\d+\.\d+\.(?!0/24)\d+ ", "\n".join(shown))
    for line, kept in zip(lines, shown, strict=True):
        # Times, requests that came without a token, status and size are as they were.
        assert (
            re.findall(r"\[[^\]]+\]", kept)[:1] == re.findall(r"\[[^\]]+\]", line)[:1] or "[redacted" in kept
        )
        assert kept.count('"') == line.count('"')
