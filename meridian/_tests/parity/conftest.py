"""Both engines side by side: what is done to one is done to the other, and all that can be seen of them has to be equal."""

import io
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from meridian.observability import logging as log


@pytest.fixture(autouse=True, scope="module")
def _both_engines_are_here() -> None:
    if find_spec("meridian_fast") is None:
        pytest.skip("meridian_fast is not installed here: cargo was not found")


@pytest.fixture(autouse=True, scope="module")
def silence() -> Iterator[None]:
    kept = log.get_logger().config
    log.replace_config(log.LogConfig(level="ERROR", stream=io.StringIO()))
    yield
    log.replace_config(kept)
