"""The benchmark of spans makes spans; how long that takes is not tested here."""

from __future__ import annotations

import pytest

from meridian.observability import LogConfig, is_tracing_enabled
from meridian.observability.logging import replace_config

pytest.importorskip("asv_bench", reason="the benchmarks are not part of the wheel")
pytest.importorskip("opentelemetry.sdk.trace")
from asv_bench import spans

pytestmark = pytest.mark.req("X3", "X1")


@pytest.fixture(autouse=True)
def quiet():
    replace_config(LogConfig(level="ERROR"))
    yield
    replace_config(LogConfig())


def test_each_share_is_measured_and_tracing_is_off_again():
    costs = spans.measure(samples=1, most=20)
    assert list(costs) == list(spans.SHARES)
    assert all(ns > 0 for ns in costs.values())
    assert is_tracing_enabled() is False


def test_the_record_has_a_row_for_each_share_with_its_ratio():
    costs = {"off": 100.0, "0 %": 150.0, "1 %": 1_000.0, "100 %": 50_000.0}
    kept = spans.kept("command", {"python": costs})
    assert kept["tables"]["spans"]["rows"] == [
        ["python", "off", "100", "1.00"],
        ["python", "0 %", "150", "1.50"],
        ["python", "1 %", "1,000", "10.00"],
        ["python", "100 %", "50,000", "500.00"],
    ]
