"""Every test here starts from, and leaves behind, a process as it is out of the box."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest

from meridian.observability import context, logging, metrics, tracing


@pytest.fixture(autouse=True)
def out_of_the_box() -> Iterator[None]:
    source = context._handled
    context.install_handled(None)
    trace, fields = context._trace.set(context._NOTHING_SET), context._fields.set({})
    kept = logging.get_logger().config, metrics.get_metrics(), tracing._tracer, tracing._enabled
    logging.replace_config(logging.LogConfig(stream=None))
    logging.get_logger()._limits.clear()
    metrics.configure_metrics(metrics.NoopMetrics())
    tracing.configure_tracing(tracing.TracingConfig())
    yield
    logging.replace_config(kept[0])
    metrics.configure_metrics(kept[1])
    tracing._tracer, tracing._enabled = kept[2], kept[3]
    context._fields.reset(fields)
    context._trace.reset(trace)
    context.install_handled(source)


@pytest.fixture
def stream() -> io.StringIO:
    """A stream that the process's logger writes to, as JSON, from DEBUG up."""
    made = io.StringIO()
    logging.replace_config(logging.LogConfig(level="DEBUG", stream=made))
    return made


@pytest.fixture
def records(stream: io.StringIO) -> Callable[[], list[dict[str, Any]]]:
    """Returns what was written to the process's logger so far."""
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def elsewhere() -> Callable[[Callable[[], Any]], Any]:
    """Runs a function in a copy of the current context."""
    return lambda function: copy_context().run(function)
