"""The upgrade page names every difference from 1.x that the reference data knows of."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "how-to" / "upgrade-from-v1.md").read_text(encoding="utf-8")
REFERENCE = tomllib.loads((ROOT / "meridian/_tests/v1/reference.toml").read_text(encoding="utf-8"))

pytestmark = pytest.mark.req("X4")


@pytest.mark.parametrize("path", REFERENCE["changed"])
def test_a_default_that_changed_is_in_the_table(path):
    name, value = path.rpartition(".")[2], REFERENCE["changed"][path]
    assert [line for line in PAGE.splitlines() if line.startswith(f"| `{name}`") and value in line] != []


def test_event_families_that_are_gone_are_named():
    kin = {"node_unblocked", "edge_unblocked", "message_replaced", "message_coalesced"}
    named = {f"scheduler.{each}" for each in kin}
    gone = set(REFERENCE["gone"]["events"].split())
    assert sorted(gone - named - {event for event in gone if f"`{event}`" in PAGE}) == []


def test_names_that_are_gone_are_named():
    assert [name for name in REFERENCE["gone"]["names"].split() if f"`{name}" not in PAGE] == []


def test_every_program_that_is_measured_has_its_row():
    programs = pytest.importorskip("asv_bench.v1_programs").PROGRAMS
    assert [name for name in programs if f"\n| {name} | " not in PAGE] == []
