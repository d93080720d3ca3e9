"""Virtual time, seeded schedules and faults are the same on both engines."""

import pytest

from meridian.engine.kernel import PythonEngine


@pytest.fixture(autouse=True)
def _on_each_engine(engine: type[PythonEngine]) -> None:
    """Every test here runs on both engines."""
