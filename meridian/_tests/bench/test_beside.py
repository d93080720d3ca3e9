"""The benchmark of threads beside a busy run has figures; how large they are is not tested here."""

import threading

import pytest

from meridian.observability import LogConfig
from meridian.observability.logging import replace_config

pytest.importorskip("asv_bench", reason="the benchmarks are not part of the wheel")
from asv_bench import beside
from meridian_conformance.paired import Interval

pytestmark = pytest.mark.req("X3", "N4")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MERIDIAN_ENGINE", "python")
    replace_config(LogConfig(level="ERROR"))
    yield
    replace_config(LogConfig())


def test_an_idle_thread_is_there_in_some_windows_and_in_others_not(monkeypatch):
    there = []
    monkeypatch.setattr(
        beside, "ratios", lambda engine, rounds, begin, end, **_: _play(begin, end, there, "-OO--==-")
    )
    beside.there("python", 1)
    assert there == [0, 1, 1, 0, 0, 0, 0, 0]


def _play(begin, end, there, plan):
    before = threading.active_count()
    for kind in plan:
        begin(kind)
        there.append(threading.active_count() - before)
        assert end(kind)
    return [(1.0, 1.0)]


@pytest.mark.parametrize("expected", [False, True])
def test_a_thread_comes_and_goes_while_the_chain_runs(expected):
    assert all(ms >= 0 for ms in beside.waits("python", expected, 20_000))


def test_a_record_has_a_row_for_each_engine():
    alike = Interval(0.98, 1.0, 1.03)
    times = {False: [10.0, 12.0, 20.0], True: [1.0, 1.5, 2.0]}
    made = beside.kept(beside.COMMAND, {"python": (alike, alike)}, {"python": times})
    assert made["values"] == {"python": {"ratio": 1.0, "wait ms": 12.0, "expected wait ms": 1.5}}
    (row,) = made["tables"]["beside"]["rows"]
    assert row[0] == "python"
    assert row[3] == "12.0"
    assert row[5] == "1.5"
