"""What a measurement says about itself."""

import json
import re

import pytest

pytest.importorskip("asv_bench", reason="the benchmarks are not part of the wheel")

import meridian
from asv_bench import record
from asv_bench.record import Table

pytestmark = pytest.mark.req("X3")


def test_a_record_says_how_when_and_on_what():
    made = record.record("make bench", {"a": 1}, {"t": Table(["x"], [["1"]])}, {"peer": "3"})
    assert list(made) == ["command", "date", "versions", "machine", "values", "tables"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", made["date"])
    assert made["versions"]["Meridian"] == meridian.__version__
    assert list(made["versions"]) == ["Meridian", "Python", "peer"]
    assert set(made["machine"]) == {"system", "cpu", "cpus", "load"}
    assert made["tables"] == {"t": {"columns": ["x"], "rows": [["1"]]}}


def test_a_record_names_no_path_and_no_host():
    told = json.dumps(record.record("make bench", {}))
    assert str(record.ROOT) not in told
    assert record.platform.node() not in told or record.platform.node() == ""


def test_a_machine_that_does_not_count_its_load_says_nothing_about_it(monkeypatch):
    monkeypatch.delattr(record.os, "getloadavg", raising=False)
    made = record.record("make bench", {})
    assert made["machine"]["load"] is None
    assert "load" not in record.source(made)


def test_a_record_is_kept_as_it_was_made(monkeypatch, tmp_path):
    monkeypatch.setattr(record, "FIGURES", tmp_path / "figures")
    made = record.record("make bench", {"µ": 1.5})
    path = record.save("speed", made)
    assert path == tmp_path / "figures" / "speed.json"
    assert json.loads(path.read_text(encoding="utf-8")) == made


def test_columns_of_numbers_are_set_to_the_right():
    assert Table(["what", "ns:"], [["chain", "140"], ["fan", "90"]]).markdown() == (
        "| what | ns |\n| --- | ---: |\n| chain | 140 |\n| fan | 90 |"
    )
