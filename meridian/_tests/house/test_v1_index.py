"""Each quirk and defect of v1 has a test, and the page that lists them is up to date."""

import sys
from pathlib import Path

import pytest

from meridian._tests.house.test_tree import load, write_test

pytestmark = pytest.mark.req("V1")


@pytest.fixture(scope="module")
def index(root: Path):
    return load(root, "v1_index")


def test_every_quirk_and_defect_has_a_test(root: Path, index):
    assert [id for id, tests in index.evidence(root).items() if not tests] == []


def test_the_ids_are_24_quirks_and_70_defects(index):
    assert list(index.QUIRKS) == [f"L{n}" for n in range(1, 25)]
    assert list(index.DEFECTS) == [f"D{n}" for n in range(1, 71)]


def test_the_index_is_up_to_date(root: Path, index):
    text = (root / index.PAGE).read_text(encoding="utf-8")
    assert text == index.page(root), "run `make fmt`"


def test_marks_on_functions_classes_and_modules_are_gathered(index, tmp_path: Path):
    write_test(
        tmp_path,
        "import pytest\npytestmark = [pytest.mark.v1('L1')]\n"
        "@pytest.mark.v1('D2', 'D3')\nasync def test_a(): ...\n"
        "def helper(): ...\n"
        "@pytest.mark.v1('D4')\nclass TestB:\n    def test_c(self): ...\n",
    )
    found = index.evidence(tmp_path)
    a, c = ("meridian/_tests/test_x.py", "test_a"), ("meridian/_tests/test_x.py", "test_c")
    assert {id: tests for id, tests in found.items() if tests} == {
        "L1": [a, c],
        "D2": [a],
        "D3": [a],
        "D4": [c],
    }
    assert "| D4 | of several edges into one input only the last was read | `test_x.py`: c |" in index.page(
        tmp_path
    )
    assert "none yet" in index.page(tmp_path)


def test_an_unknown_quirk_is_refused(index, tmp_path: Path):
    write_test(tmp_path, "import pytest\n@pytest.mark.v1('D71')\ndef test_a(): ...\n")
    with pytest.raises(ValueError, match="test_a: D71"):
        index.evidence(tmp_path)


def test_the_script_checks_and_writes_and_refuses_nonsense(index, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(index, "page", lambda: "text\n")
    monkeypatch.setattr(index, "ROOT", tmp_path)
    (tmp_path / index.PAGE).parent.mkdir(parents=True)
    assert index.main(["--check"]) == 1
    assert index.main([]) == 0
    assert index.main(["--check"]) == 0
    assert index.main(["--what"]) == 2
    assert "out of date" in capsys.readouterr().err
    assert "ci_v1_index" in sys.modules
