"""These tests write no log."""

import io
from collections.abc import Iterator

import pytest

from meridian.observability import logging as log


@pytest.fixture(autouse=True, scope="module")
def silence() -> Iterator[None]:
    kept = log.get_logger().config
    log.replace_config(log.LogConfig(level="ERROR", stream=io.StringIO()))
    yield
    log.replace_config(kept)
