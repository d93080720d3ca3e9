"""Every test here logs into a buffer and counts into nothing, and leaves the process as it was."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meridian.observability import logging, metrics


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    kept = logging.get_logger().config, metrics.get_metrics()
    stream = io.StringIO()
    logging.replace_config(logging.LogConfig(stream=stream))
    logging.get_logger()._limits.clear()
    metrics.configure_metrics(metrics.NoopMetrics())
    yield stream
    logging.replace_config(kept[0])
    metrics.configure_metrics(kept[1])


@pytest.fixture
def records(log: io.StringIO) -> Callable[[str], list[dict[str, Any]]]:
    """Returns what was logged so far under one event."""

    def of(event: str) -> list[dict[str, Any]]:
        lines = map(json.loads, log.getvalue().splitlines())
        return [line for line in lines if line["event"] == event]

    return of
