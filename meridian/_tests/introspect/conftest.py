"""These tests write no log, and run on both engines."""

import io
from collections.abc import Iterator

import pytest

from meridian.engine.kernel import PythonEngine
from meridian.observability import logging as log


@pytest.fixture(autouse=True, scope="module")
def silence() -> Iterator[None]:
    kept = log.get_logger().config
    log.replace_config(log.LogConfig(level="ERROR", stream=io.StringIO()))
    yield
    log.replace_config(kept)


@pytest.fixture(autouse=True)
def _on_each_engine(engine: type[PythonEngine]) -> None:
    """Every test here runs on both engines."""
