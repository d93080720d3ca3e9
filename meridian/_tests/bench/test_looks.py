"""The benchmark of looks looks; how long that takes is not tested here."""

import asyncio

import pytest

from meridian.observability import LogConfig
from meridian.observability.logging import replace_config

pytest.importorskip("asv_bench", reason="the benchmarks are not part of the wheel")
from asv_bench import looks
from meridian_conformance.paired import Interval

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


@pytest.mark.parametrize("who", [looks.ALONE, looks.IDLES, looks.ASKS])
@pytest.mark.parametrize("watcher", looks.WATCHERS)
def test_the_chain_is_run_with_and_without_somebody_who_watches(watcher, who):
    assert looks.chain_watched(watcher, who, 500) > 0


def test_a_record_has_a_row_for_each_watcher_and_engine():
    alike = Interval(0.98, 1.0, 1.03)
    found = [
        ("socket", "python", Interval(0.99, 1.0, 1.005), alike),
        ("prometheus", "rust", Interval(1.01, 1.02, 1.04), alike),
        ("prometheus", "python", Interval(1.031, 1.04, 1.05), alike),
    ]
    made = looks.kept(looks.COMMAND, {"scrape": {10: 3.4567, 1_000: 168.0, 10_000: 2_400.0}}, found)
    assert made["values"] == {
        "look": {"scrape": {"10": 3.457, "1000": 168.0, "10000": 2_400.0}},
        "socket": {"python": 1.0},
        "prometheus": {"rust": 1.02, "python": 1.04},
    }
    assert made["tables"]["looks"]["rows"] == [["a scrape of the endpoint", "3.46", "168.00", "2400.00"]]
    assert [row[-3:] for row in made["tables"]["watched"]["rows"]] == [
        ["1.01", "green", str(alike)],
        ["1.03", "yellow", str(alike)],
        ["1.03", "RED", str(alike)],
    ]
