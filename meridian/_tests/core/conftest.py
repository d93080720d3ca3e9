"""Every test here starts from, and leaves behind, a process as it is out of the box, and logs into a buffer."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meridian.engine.kernel import PythonEngine
from meridian.observability import logging, metrics, tracing


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    kept = logging.get_logger().config, metrics.get_metrics()
    stream = io.StringIO()
    logging.replace_config(logging.LogConfig(stream=stream))
    logging.get_logger()._limits.clear()
    metrics.configure_metrics(metrics.NoopMetrics())
    tracing.configure_tracing(tracing.TracingConfig())
    yield stream
    logging.replace_config(kept[0])
    metrics.configure_metrics(kept[1])
    tracing.configure_tracing(tracing.TracingConfig())


@pytest.fixture
def records(log: io.StringIO) -> Callable[[], list[dict[str, Any]]]:
    """Returns what was logged so far."""
    return lambda: [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.fixture
def events(records: Callable[[], list[dict[str, Any]]]) -> Callable[[], list[str]]:
    """Returns the keys of the events logged so far."""
    return lambda: [record["event"] for record in records()]


@pytest.fixture
def debug(log: io.StringIO) -> None:
    """Logs from DEBUG up."""
    logging.replace_config(logging.LogConfig(level="DEBUG", stream=log))


@pytest.fixture(autouse=True)
def _on_each_engine(engine: type[PythonEngine]) -> None:
    """Every test here runs on both engines."""
