"""The benchmark of looks looks; how long that takes is not tested here."""

import asyncio

import pytest

from meridian.observability import LogConfig
from meridian.observability.logging import replace_config

pytest.importorskip("asv_bench", reason="the benchmarks are not part of the wheel")
from asv_bench import looks

pytestmark = pytest.mark.req("X3", "N6")


@pytest.fixture(autouse=True)
def quiet(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    replace_config(LogConfig(level="ERROR"))
    yield
    replace_config(LogConfig())


@pytest.mark.parametrize("how", ["inside", "json", "socket"])
def test_looks_of_each_kind_are_taken(how):
    async def main():
        async with looks.looks(20, how) as block:
            return await block(2)

    assert asyncio.run(main()) > 0


@pytest.mark.parametrize("attached", [False, True])
def test_the_chain_is_run_with_and_without_a_client(attached):
    assert looks.chain_looked_at(attached, 500) > 0
