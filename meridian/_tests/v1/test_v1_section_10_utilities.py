from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import meridian.utils as utils
from meridian.utils import env_flag, ids, monotonic_ns, new_trace_id, require, utc_now_iso
from meridian.utils import time as clock

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

pytestmark = pytest.mark.req("V1")


def test_utils_exports_what_v1_did():
    assert sorted(utils.__all__) == ["new_trace_id", "require", "utc_now_iso"]


@pytest.mark.parametrize(("entropy_bytes", "digits"), [(16, 32), (1, 2), (40, 80), (0, 32), (-5, 32)])
def test_a_trace_id_has_two_digits_per_byte(entropy_bytes: int, digits: int):
    assert re.fullmatch(f"[0-9a-f]{{{digits}}}", new_trace_id(entropy_bytes))


def test_ids_are_32_digits_and_differ():
    made = {ids.new_trace_id() for _ in range(50)}
    assert len(made) == 50
    assert {len(trace_id) for trace_id in made} == {32}


def test_an_id_has_its_prefix_if_there_is_one():
    assert re.fullmatch("order_[0-9a-f]{32}", ids.new_id("order"))
    assert re.fullmatch("[0-9a-f]{32}", ids.new_id(""))
    assert re.fullmatch("[0-9a-f]{32}", ids.new_id())


@pytest.mark.parametrize("name", ["generate_trace_id", "generate_correlation_id", "generate_span_id"])
def test_generated_ids_are_dashed_uuid4s(name: str):
    first, second = getattr(ids, name)(), getattr(ids, name)()
    assert UUID4.fullmatch(first)
    assert first != second


def test_require_raises_with_its_message():
    require(True)
    require([0])
    with pytest.raises(ValueError, match=r"^Precondition failed$"):
        require(False)
    with pytest.raises(ValueError, match=r"^need one$"):
        require([], "need one")


@pytest.mark.parametrize("value", ["1", "true", "yes", "on", "TRUE", " On "])
def test_a_flag_is_true(value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLAG", value)
    assert env_flag("FLAG") is True


@pytest.mark.parametrize("value", ["0", "false", "no", "off", "No"])
def test_a_flag_is_false(value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLAG", value)
    assert env_flag("FLAG", default=True) is False


@pytest.mark.parametrize("default", [True, False])
def test_any_other_flag_is_the_default(default: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLAG", "maybe")
    assert env_flag("FLAG", default) is default
    monkeypatch.delenv("FLAG")
    assert env_flag("FLAG", default) is default


# --- time


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_the_time_in_utc_is_the_epoch_time_cut_off(now_ns: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: now_ns)
        whole = datetime.fromtimestamp(now_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        micro = now_ns // 1000 % 1_000_000
        assert utc_now_iso(precise=False) == f"{whole}Z"
        assert utc_now_iso() == clock.now_rfc3339() == f"{whole}.{micro:06d}Z"
        assert clock.now_ts_ms() == now_ns // 10**6


def test_the_fraction_is_written_also_when_it_is_zero(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000 * 10**9)
    assert clock.now_rfc3339() == "2023-11-14T22:13:20.000000Z"


def test_a_timed_block_gets_its_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "monotonic", lambda: 12.5)
    with clock.time_block("name") as start_s:
        assert start_s == 12.5


def test_the_clocks_are_the_systems(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "monotonic_ns", lambda: 1)
    monkeypatch.setattr(time, "time", lambda: 2.5)
    monkeypatch.setattr(time, "perf_counter", lambda: 3.5)
    assert (monotonic_ns(), clock.generate_timestamp(), clock.generate_monotonic_timestamp()) == (1, 2.5, 3.5)
