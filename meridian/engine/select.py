"""Which engine runs, and why. The only module that knows there is more than one.

The rest of Meridian asks here: `choose` which engine it is, `engine_type` for its class, `native` for the extension
itself. Each question is answered once per process and value of ``MERIDIAN_ENGINE``. The extension is looked
for when somebody first asks, and whatever goes wrong then is a reason for the Python engine and never an error, unless
``rust`` was asked for.

Nothing above `meridian.core.errors` is imported before it is needed, so that any module may ask.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib import import_module
from struct import unpack_from
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from meridian.core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from meridian.engine.kernel import PythonEngine

T = TypeVar("T")

NEEDED: Final = (
    "__version__",
    "build_info",
    "Budget",
    "Engine",
    "LimitedRing",
    "ReadyQueue",
    "Ring",
    "Turn",
    "_message_bases",
)
"""Names without which a module called ``meridian_fast`` isn't the extension."""

_MOST_OF_A_TEXT: Final = 300
"""A reason is a sentence: of an exception's text it quotes so many characters."""


class EngineChoice(NamedTuple):
    """What was chosen.

    Attributes:
        name: ``python`` or ``rust``.
        reason: Why, in one sentence.
        refused: ``meridian_fast`` is installed, and can't be used: it is broken, or not of this version, or doesn't run
            in this kind of interpreter.
    """

    name: str
    reason: str
    refused: bool = False


class _Unusable(NamedTuple):
    """The Rust engine can't be had.

    Attributes:
        reason: Why, in one sentence.
        fix: What would help.
        refused: It is there nevertheless.
    """

    reason: str
    fix: str
    refused: bool = True


def engine_factory() -> tuple[type[PythonEngine], EngineChoice]:
    """Return what makes an engine, as ``MERIDIAN_ENGINE`` (``auto``, ``python``, ``rust``) asks, and why.

    Raises:
        EngineError: ``rust`` was asked for and can't be had, or the value is none of the three.
    """
    asked = _asked()
    return engine_type(asked), choose(asked)


@lru_cache
def choose(asked: str) -> EngineChoice:
    """Decide between the engines.

    Raises:
        EngineError: ``rust`` was asked for and can't be had, or ``asked`` is none of the three.
    """
    if asked not in ("auto", "python", "rust"):
        raise EngineError(f"MERIDIAN_ENGINE={asked!r}: use auto, python or rust")
    if asked == "python":
        return EngineChoice("python", "MERIDIAN_ENGINE=python")
    found = _rust_engine()
    if not isinstance(found, _Unusable):
        return EngineChoice(
            "rust", "MERIDIAN_ENGINE=rust" if asked == "rust" else "meridian_fast is installed"
        )
    if asked == "rust":
        raise EngineError(f"MERIDIAN_ENGINE=rust, but {found.reason}: {found.fix}")
    return EngineChoice("python", found.reason, found.refused)


def engine_type(asked: str | None = None) -> type[PythonEngine]:
    """Return the class of the engine that runs; it knows of what its rings and turns are made.

    Args:
        asked: ``auto``, ``python`` or ``rust``; ``MERIDIAN_ENGINE`` by default.

    Raises:
        EngineError: as `choose`.
    """
    if choose(_asked() if asked is None else asked).name == "rust":
        found = _rust_engine()
        assert not isinstance(found, _Unusable)  # it is what `choose` saw
        return found
    from meridian.engine.kernel import PythonEngine

    return PythonEngine


def native() -> ModuleType | None:
    """Return the extension if this process is to use it and can, else ``None``.

    Never raises: a value of ``MERIDIAN_ENGINE`` that can't be fulfilled is refused by the run, which can say so.
    """
    if _asked() not in ("auto", "rust"):
        return None
    found = _extension()
    return None if isinstance(found, _Unusable) else found


def extension() -> ModuleType:
    """Return the extension, whatever was asked for.

    Raises:
        EngineError: it can't be had.
    """
    found = _extension()
    if isinstance(found, _Unusable):
        raise EngineError(f"{found.reason}: {found.fix}")
    return found


def _asked() -> str:
    return os.environ.get("MERIDIAN_ENGINE", "auto")


# ---- what there is ---------------------------------------------------------------------------------------------------


@lru_cache
def _extension() -> ModuleType | _Unusable:
    """Load ``meridian_fast``, or find out why that can't be."""
    return _attempt(_load_extension)


@lru_cache
def _rust_engine() -> type[PythonEngine] | _Unusable:
    """Load the Rust engine, or find out why that can't be."""
    return _attempt(_load_engine)


def _attempt(load: Callable[[], T | _Unusable]) -> T | _Unusable:
    """Return what ``load`` returns; what it raises is a reason."""
    try:
        return load()
    except (KeyboardInterrupt, SystemExit):  # the user's, or a signal's, not the extension's
        raise
    except BaseException as error:  # a panic in Rust is no Exception
        return _Unusable(
            f"meridian_fast can't be loaded: {type(error).__name__}: {_quoted(error)}", _reinstall()
        )


def _load_extension() -> ModuleType | _Unusable:
    from importlib.util import find_spec

    from meridian import __version__

    spec = find_spec("meridian_fast")
    if spec is None or spec.origin is None:  # a mere folder of that name has no origin
        return _Unusable(
            "meridian_fast is not installed", "pip install 'meridian-runtime[fast]'", refused=False
        )
    unfit = _unfit_interpreter()
    if unfit is not None:
        return unfit
    for folder in spec.submodule_search_locations or ():
        for path in (os.path.join(folder, name) for name in os.listdir(folder)):
            if path.endswith(".so") and _is_cut_short(path):
                return _Unusable(f"meridian_fast can't be loaded: {_quoted(path)} is cut short", _reinstall())
    extension = import_module("meridian_fast")
    found = getattr(extension, "__version__", __version__)
    if found != __version__:  # before the names: another version may well have others
        return _Unusable(f"meridian_fast is {_quoted(found)}, and meridian is {__version__}", _reinstall())
    missing = [name for name in NEEDED if not hasattr(extension, name)]
    if missing:
        return _Unusable(f"meridian_fast lacks {', '.join(missing)}", _reinstall())
    return extension


def _load_engine() -> type[PythonEngine] | _Unusable:
    extension = _extension()
    if isinstance(extension, _Unusable):
        return extension
    from meridian.engine.native import RustEngine

    return RustEngine


def _unfit_interpreter() -> _Unusable | None:
    """Return why the extension can't be loaded into this interpreter, whatever build it is.

    It relies on the GIL, and keeps objects of the interpreter that loads it, which must not get into another's hands.
    Nobody else sees to that: PyO3 0.30 doesn't refuse an abi3 module to a sub-interpreter, and CPython only does if that
    has a GIL of its own.
    """
    if "t" in getattr(sys, "abiflags", ""):
        return _Unusable(
            "meridian_fast needs the GIL, and this Python is free-threaded", "use one with the GIL"
        )
    for name in ("_interpreters", "_xxsubinterpreters"):  # since Python 3.13, and before
        try:
            interpreters = import_module(name)
        except ImportError:
            continue
        if interpreters.get_current() != interpreters.get_main():
            return _Unusable(
                "meridian_fast doesn't run in sub-interpreters", "run it in the main interpreter"
            )
        break
    return None


def _is_cut_short(path: str) -> bool:
    """Return whether the end of an ELF file is missing, as after an interrupted copy.

    The loader maps such a file without looking, and the process dies of SIGBUS. In other formats the loader looks.
    """
    with open(path, "rb") as file:
        head = file.read(64)
        if len(head) < 64 or not head.startswith(b"\x7fELF"):
            return False  # the loader refuses it
        # Where the table of sections begins, which is the last thing in the file, and its size: elf(5), Elf64_Ehdr, Elf32_Ehdr.
        order, wide = "<" if head[5] == 1 else ">", head[4] == 2
        (begin,) = unpack_from(f"{order}{'Q' if wide else 'I'}", head, 40 if wide else 32)
        size, count = unpack_from(f"{order}HH", head, 58 if wide else 46)
        return bool(os.fstat(file.fileno()).st_size < begin + size * count)


def _quoted(value: object) -> str:
    """Return a stranger's text as a part of a sentence."""
    from meridian.redaction.names import clean

    try:
        return clean(" ".join(str(value).split()), _MOST_OF_A_TEXT)
    except Exception:  # a text that can't be made is no reason to fail either
        return "(no text)"


def _reinstall() -> str:
    from meridian import __version__

    return f"pip install --force-reinstall 'meridian-fast=={__version__}'"
