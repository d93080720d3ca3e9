"""Which engine runs, and why. The only module that knows there is more than one."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any, NamedTuple

from meridian.core.errors import EngineError
from meridian.engine.kernel import PythonEngine


class EngineChoice(NamedTuple):
    """What was chosen.

    Attributes:
        name: ``python`` or ``rust``.
        reason: Why, in one sentence.
    """

    name: str
    reason: str


def engine_factory() -> tuple[type[PythonEngine], EngineChoice]:
    """Return what makes an engine, as ``MERIDIAN_ENGINE`` (``auto``, ``python``, ``rust``) asks, and why.

    Raises:
        EngineError: ``rust`` was asked for and can't be had, or the value is none of the three.
    """
    return PythonEngine, choose(os.environ.get("MERIDIAN_ENGINE", "auto"))


@lru_cache
def choose(asked: str) -> EngineChoice:
    """Decide between the engines."""
    if asked not in ("auto", "python", "rust"):
        raise EngineError(f"MERIDIAN_ENGINE={asked!r}: use auto, python or rust")
    if asked == "python":
        return EngineChoice("python", "MERIDIAN_ENGINE=python")
    found = _fast()
    if isinstance(found, str):
        if asked == "rust":
            raise EngineError(f"MERIDIAN_ENGINE=rust, but {found}: pip install 'meridian-runtime[fast]'")
        return EngineChoice("python", found)
    if getattr(found, "ENGINE", None) is None:
        why = f"meridian_fast {found.__version__} brings no engine yet"
        if asked == "rust":
            raise EngineError(f"MERIDIAN_ENGINE=rust, but {why}")
        return EngineChoice("python", why)
    return EngineChoice("python", "meridian_fast is installed, its engine isn't used yet")


def _fast() -> Any:
    try:
        import meridian_fast
    except ImportError:
        return "meridian_fast is not installed"
    return meridian_fast
