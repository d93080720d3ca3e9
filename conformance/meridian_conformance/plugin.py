"""The pytest plugin.

pytest imports this module at every start, wherever the kit is installed: it imports neither Hypothesis nor Meridian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meridian_conformance import __version__

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Register the kit's marker, so that adopters may keep strict markers on."""
    config.addinivalue_line("markers", "rule(*ids): the conformance rules that this test checks")


def pytest_report_header() -> str:
    """Name the kit and its version at the top of the report."""
    return f"meridian-conformance {__version__} (no profiles yet)"
