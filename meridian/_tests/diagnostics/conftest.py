"""These tests write no log, and look at no process but their own."""

import io
from collections.abc import Iterator

import pytest

from meridian.observability import logging as log


@pytest.fixture(autouse=True, scope="module")
def silence() -> Iterator[None]:
    kept = log.get_logger().config
    log.replace_config(log.LogConfig(level="INFO", stream=io.StringIO()))
    yield
    log.replace_config(kept)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, and sockets of their own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("MERIDIAN_INSPECT", raising=False)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here
