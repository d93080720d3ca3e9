"""The page of the conformance rules is generated from the rules, and up to date."""

from pathlib import Path

import pytest

from meridian._tests.house.test_tree import load

pytestmark = pytest.mark.req("X5")


@pytest.fixture(scope="module")
def rules_page(root: Path):
    return load(root, "rules_page")


def test_the_page_of_rules_is_up_to_date(root: Path, rules_page):
    assert (root / rules_page.PAGE).read_text(encoding="utf-8") == rules_page.page(root), "run `make fmt`"


def test_every_rule_has_its_row_and_its_section(root: Path, rules_page):
    page = rules_page.page(root)
    ids = [
        line.split('"')[1]
        for line in (root / rules_page.SOURCE).read_text(encoding="utf-8").splitlines()
        if line.startswith("id = ")
    ]
    assert len(ids) >= 30
    assert [id for id in ids if page.count(f"\n| [{id}](#{id.lower()}) | ") != 1] == []
    assert [id for id in ids if page.count(f"\n### {id}\n") != 1] == []


def test_the_script_checks_and_writes_and_refuses_nonsense(
    root: Path, rules_page, tmp_path: Path, monkeypatch, capsys
):
    text = rules_page.page(root)
    monkeypatch.setattr(rules_page, "ROOT", tmp_path)
    monkeypatch.setattr(rules_page, "page", lambda: text)
    (tmp_path / rules_page.PAGE).parent.mkdir(parents=True)
    assert rules_page.main(["--check"]) == 1
    assert rules_page.main([]) == 0
    assert rules_page.main(["--check"]) == 0
    assert rules_page.main(["--what"]) == 2
    assert "out of date" in capsys.readouterr().err
