"""Whatever a test installs, exposes or logs to is put back."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meridian.observability import logging as log
from meridian.redaction import Exposed, Policy, Redactor, install
from meridian.redaction.policy import EXPOSABLE


@pytest.fixture(autouse=True)
def lines() -> Iterator[io.StringIO]:
    """What is logged, from INFO up."""
    kept, stream = log.get_logger().config, io.StringIO()
    log.replace_config(log.LogConfig(stream=stream))
    yield stream
    install(Policy())
    log.replace_config(kept)


@pytest.fixture
def records(lines: io.StringIO) -> Callable[[], list[dict[str, Any]]]:
    """Returns what was logged so far, as records."""
    return lambda: [json.loads(line) for line in lines.getvalue().splitlines()]


@pytest.fixture
def open_redactor() -> Redactor:
    """A redactor that exposes all that can be, so that only rules stand between a value and the outside."""
    return Redactor(Policy(expose=tuple(Exposed(what, "this is a test") for what in EXPOSABLE)))
