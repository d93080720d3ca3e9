"""An application that is told what it saw instead of looking, and screens to compare with."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from meridian._tests.inspect import parts


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """Snapshots and events to show."""
    return parts


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    """Times of day are those of one place."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if hasattr(time, "tzset"):
        time.tzset()
    yield
    monkeypatch.undo()
    if hasattr(time, "tzset"):
        time.tzset()


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a screen with the file of that name; with ``MERIDIAN_SCREENS=write`` in the environment, write it."""
    folder = Path(__file__).parent / "screens"

    def compare(name: str, screen: str) -> None:
        path = folder / f"{name}.txt"
        screen = "\n".join(row.rstrip() for row in screen.splitlines()) + "\n"
        if os.environ.get("MERIDIAN_SCREENS") == "write":
            path.write_text(screen, encoding="utf-8")
        assert screen == path.read_text(encoding="utf-8")

    return compare
