"""The benchmark of looks looks; how long that takes is not tested here."""

import asyncio
from functools import partial
from itertools import count

import pytest

from meridian.observability import LogConfig
from meridian.observability.logging import replace_config

pytest.importorskip("asv_bench", reason="the benchmarks are not part of the wheel")
from asv_bench import looks
from asv_bench.windows import BASE, OTHER, ROUND, TWIN, ratios
from meridian_conformance.paired import Interval, Measured

pytestmark = pytest.mark.req("X3", "N6")


@pytest.fixture(autouse=True)
def quiet(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    replace_config(LogConfig(level="ERROR"))
    yield
    replace_config(LogConfig())


@pytest.mark.parametrize("how", looks.KINDS)
def test_looks_of_each_kind_are_taken(how):
    async def main():
        async with looks.looks(20, how) as block:
            return await block(2)

    assert asyncio.run(main()) > 0


@pytest.mark.parametrize("engine", ["python", "rust"])
@pytest.mark.parametrize("watcher", looks.WATCHERS)
def test_the_chain_is_watched_while_it_runs(watcher, engine, monkeypatch):
    if engine == "rust":
        pytest.importorskip("meridian_fast")
    monkeypatch.setenv("MERIDIAN_ENGINE", engine)  # which ratios() sets; so it is put back
    monkeypatch.setattr(looks, "ratios", partial(ratios, clock=count().__next__))
    # So small a window may be over before the look is; it is waited for all the same.
    monkeypatch.setattr(looks, "select", lambda *_: ([True], [], []))
    it = looks.watched(watcher, engine, 2, 2_000)
    assert it.quads == 2
    assert it.ratio.median == it.control.median == 1.0


def test_a_look_that_takes_longer_than_its_window_says_so(monkeypatch):
    monkeypatch.setenv("MERIDIAN_ENGINE", "python")
    monkeypatch.setattr(looks, "select", lambda *_: ([], [], []))
    with pytest.raises(SystemExit, match="in 2 of 2 rounds a look took longer than its window"):
        looks.watched("socket", "python", 2, 300)


def test_a_window_that_does_not_count_takes_its_round_with_it(monkeypatch):
    monkeypatch.setenv("MERIDIAN_ENGINE", "python")
    kinds = []

    def end(kind):
        kinds.append(kind)
        return len(kinds) != 12  # the second round that counts is the third of all

    found = ratios("python", 3, lambda _: None, end, clock=count().__next__, size=300)
    assert "".join(kinds) == 4 * ROUND
    assert found == [(1.0, 1.0)] * 2


def test_what_costs_more_has_the_greater_ratio(monkeypatch):
    monkeypatch.setenv("MERIDIAN_ENGINE", "python")
    now, pace = [0], {BASE: 100, TWIN: 101, OTHER: 110}
    kinds = []

    def clock():
        now[0] += pace[kinds[-1]]
        return now[0]

    assert ratios("python", 2, kinds.append, clock=clock, size=300) == [(1.1, 1.01)] * 2


def test_a_record_has_a_row_for_each_watcher_and_engine():
    alike, apart = Interval(0.98, 1.0, 1.03), Interval(0.9, 1.0, 1.2)
    found = [
        ("socket", "python", Measured(Interval(0.99, 1.0, 1.005), alike, 60, 1.01)),
        ("prometheus", "rust", Measured(Interval(1.01, 1.02, 1.04), alike, 60, 1.03)),
        ("prometheus", "python", Measured(Interval(1.031, 1.04, 1.05), apart, 60, 1.03)),
    ]
    made = looks.kept(looks.COMMAND, {"scrape": {10: 3.4567, 1_000: 168.0, 10_000: 2_400.0}}, found)
    assert made["values"] == {
        "look": {"scrape": {"10": 3.457, "1000": 168.0, "10000": 2_400.0}},
        "socket": {"python": 1.0},
        "prometheus": {"rust": 1.02, "python": 1.04},
    }
    assert made["tables"]["looks"]["rows"] == [["a scrape of the endpoint", "3.46", "168.00", "2400.00"]]
    assert [row[-3:] for row in made["tables"]["watched"]["rows"]] == [
        ["0.980 to 1.030", "1.01", "green"],
        ["0.980 to 1.030", "1.03", "yellow"],
        ["0.900 to 1.200", "1.03", "RED"],
    ]
