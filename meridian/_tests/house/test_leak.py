"""The judge of `ci/leak.py` sees a leak, and is not fooled by a single reading."""

import importlib.util
from pathlib import Path

import pytest

MIB = 1 << 20


@pytest.fixture(scope="module")
def leak(root: Path):
    spec = importlib.util.spec_from_file_location("leak", root / "ci/leak.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def readings(per_operation: float, warm_up: int = 5 * MIB) -> list[tuple[int, int]]:
    """Of a million operations: the memory of the warm-up comes in the first tenth."""
    return [(n * 25_000, min(n, 4) * warm_up // 4 + int(n * 25_000 * per_operation)) for n in range(1, 41)]


def test_a_warm_up_is_no_leak(leak):
    assert leak.growth(readings(0.0)) == 0


def test_one_small_object_for_each_operation_is_seen_in_the_short_form(leak):
    assert leak.growth(readings(16.0)) > 4 * leak.ALLOWED


def test_one_odd_reading_changes_nothing(leak):
    odd = readings(0.0)
    odd[-1] = (odd[-1][0], odd[-1][1] + 50 * MIB)
    assert leak.growth(odd) == 0
