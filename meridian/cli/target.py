"""TARGET: what the user wants to run, found and loaded, or else what is wrong with it.

A target is ``module:attribute`` or ``path/to/file.py:attribute``. Modules are looked for as ``python -m`` does, with the
current folder first; files as ``python file.py`` does, with their own folder first (a file in a package is imported as a
part of it). The attribute is a `Subgraph`, a `Scheduler`, or a function that returns one.
"""

from __future__ import annotations

import ast
import asyncio
import difflib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from meridian.cli.codes import CommandError
from meridian.core.scheduler import Scheduler
from meridian.core.subgraph import Subgraph, graph
from meridian.core.wiring import Flow, Wirable
from meridian.redaction import type_name

DEFAULTS = ("build", "graph")
FORMS = "module:attribute or path/to/file.py:attribute"
WANTED = "a Subgraph, a Scheduler, or a function that returns one"

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_ASYNCIO = os.path.dirname(os.path.abspath(asyncio.__file__)) + os.sep
_IMPORTLIB = os.path.dirname(os.path.abspath(importlib.__file__)) + os.sep


@dataclass(frozen=True, slots=True)
class Target:
    """A target as it was written.

    Attributes:
        place: Module or file.
        attribute: Dotted name in it, or ``None`` for the default.
        is_file: ``place`` is a path.
    """

    place: str
    attribute: str | None
    is_file: bool

    def with_attribute(self, attribute: str) -> str:
        """Return the target that names ``attribute``, as it would be written."""
        return f"{self.place}:{attribute}"


def parse(text: str) -> Target:
    """Read a target.

    Raises:
        CommandError: it isn't one.
    """
    if not text.strip():
        raise CommandError(f"TARGET is empty: give {FORMS}")
    place, colon, attribute = text.rpartition(":")
    if not colon or "/" in attribute or "\\" in attribute:  # the colon of a Windows drive separates nothing
        place, colon, attribute = text, "", ""
    if not place:
        raise CommandError(f"{text!r} names no module or file before the colon: give {FORMS}")
    if colon and not attribute:
        raise CommandError(f"{text!r} names nothing after the colon: give {FORMS}, or leave the colon out")
    if colon and not all(part.isidentifier() for part in attribute.split(".")):
        hint = "leave the brackets out, functions are called for you" if "(" in attribute else f"give {FORMS}"
        raise CommandError(f"{attribute!r} in {text!r} is not an attribute's name: {hint}")
    is_file = place.endswith(".py") or "/" in place or os.sep in place or place in (".", "..")
    return Target(place, attribute or None, is_file)


def load(text: str, args: Sequence[str], runner: asyncio.Runner) -> Scheduler:
    """Load what a target names, and return it as a scheduler: its own, or a new one with the graph registered.

    Args:
        text: The target.
        args: What its code finds in ``sys.argv[1:]``.
        runner: Runs its function if that is asynchronous.

    Raises:
        CommandError: nothing to run is there, or its own code failed.
    """
    target, here = parse(text), current_folder()
    if not sys.flags.safe_path and "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)
    sys.argv = [target.place, *args]
    module = _load_file(target.place) if target.is_file else _load_module(target.place)
    name, value = _attribute(target, module)
    return _as_scheduler(target.with_attribute(name), value, runner)


def current_folder() -> str:
    """Return where the process is.

    Raises:
        CommandError: that folder has gone, or may not be looked at any more.
    """
    try:
        return os.getcwd()
    except OSError as error:
        raise CommandError(
            f"the current folder can't be used ({error.strerror or error}): change to one that is there"
        ) from None


# ---- modules and files ---------------------------------------------------------------------------------------------


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise CommandError(f"{name!r} is neither a module's name nor a path to a .py file: give {FORMS}")
    try:
        with _their_code(f"importing {name!r}"):
            module = importlib.import_module(name)
    except CommandError as error:
        cause = error.__cause__
        if not (isinstance(cause, ModuleNotFoundError) and _is_about(cause, name)):
            raise
        raise CommandError(_not_found(name, str(cause.name))) from None
    if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
        raise CommandError(
            f"{name!r} is a folder, not a module: {_files_in(Path(os.path.relpath(next(iter(module.__path__), name))))}"
        )
    return module


def _is_about(error: ModuleNotFoundError, name: str) -> bool:
    """Say whether the target itself is missing, and not something that it imports."""
    missing = str(error.name)
    return (missing == name or name.startswith(missing + ".")) and not _their_frames(error.__traceback__)


def _not_found(name: str, missing: str) -> str:
    parent, _, last = missing.rpartition(".")
    said = f"there is no module {missing!r}" + (f", so {name!r} can't be imported" if missing != name else "")
    if parent:
        folders = list(getattr(sys.modules.get(parent), "__path__", ()))
        if not folders:
            return f"{said}: {parent!r} is a module and not a package; to name something in it, write {parent}:{last}"
        where = f"in package {parent!r}"
    else:
        folders = [os.getcwd()]
        where = "in the current folder or among the installed packages"
    prefix = parent + "." if parent else ""
    near = _near(last, (prefix + found.name for found in pkgutil.iter_modules(folders)), prefix)
    return f"{said} {where}{near or f': check the name, or give the path to a .py file ({FORMS})'}"


def _load_file(text: str) -> ModuleType:
    path = Path(text)
    try:
        is_there = path.exists()
    except OSError as error:  # one may not look there, or no file has such a name
        raise CommandError(f"can't look for {text!r}: {error.strerror or error}") from None
    if path.is_dir():
        raise CommandError(f"{text!r} is a folder: {_files_in(path)}")
    if not is_there:
        with_suffix = Path(text + ".py")
        if with_suffix.is_file():
            raise CommandError(f"there is no file {text!r}: did you mean {with_suffix.as_posix()!r}?")
        folder = path.parent
        if not folder.is_dir():
            raise CommandError(
                f"there is no file {text!r}, and no folder {str(folder)!r}: paths are relative to {os.getcwd()!r}"
            )
        near = _near(path.as_posix(), (found.as_posix() for found in folder.glob("*.py") if found.is_file()))
        raise CommandError(f"there is no file {text!r}{near or ': check the path'}")
    if path.suffix != ".py":
        raise CommandError(f"{text!r} is not a Python file: give {FORMS}")
    path = path.resolve()
    package, root = [path.stem] if path.stem != "__init__" else [], path.parent
    while (root / "__init__.py").is_file():
        package.insert(0, root.name)
        root = root.parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if len(package) > 1 or path.stem == "__init__":
        return _as_part_of_package(".".join(package), path, text)
    name = path.stem
    if name in sys.modules or name in sys.stdlib_module_names or not name.isidentifier():
        name = "meridian_target_" + "".join(c if c.isalnum() else "_" for c in name)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CommandError(f"{text!r} can't be imported: give {FORMS}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _their_code(f"importing {text!r}"):
        spec.loader.exec_module(module)
    return module


def _as_part_of_package(name: str, path: Path, text: str) -> ModuleType:
    with _their_code(f"importing {text!r} as {name!r}"):
        module = importlib.import_module(name)
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != path:
        raise CommandError(
            f"{text!r} is module {name!r} of a package, but that name leads to {found!r}: rename one of them"
        )
    return module


def _files_in(folder: Path) -> str:
    try:
        names = sorted(each.name for each in folder.glob("*.py"))
    except OSError:
        names = []
    if not names:
        return f"name a .py file ({FORMS})"
    shown = ", ".join((folder / name).as_posix() for name in names[:5])
    return f"name a file in it, such as {shown}"


def _near(name: str, there: Iterable[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(prefix + name, list(there), n=3, cutoff=0.6)
    return f": did you mean {' or '.join(map(repr, close))}?" if close else ""


# ---- attributes ----------------------------------------------------------------------------------------------------


def _attribute(target: Target, module: ModuleType) -> tuple[str, Any]:
    if target.attribute is None:
        return _default(target, module)
    value: Any = module
    done = ""
    for part in target.attribute.split("."):
        with _their_code(f"reading {part!r} of {target.place + done!r}"):
            missing = object()
            found = getattr(value, part, missing)
            if found is missing:
                raise CommandError(_missing_attribute(target, value, done, part))
            value = found
        done = f"{done}.{part}" if done else f":{part}"
    return target.attribute, value


def _missing_attribute(target: Target, owner: Any, done: str, part: str) -> str:
    names = [name for name in dir(owner) if not name.startswith("_")]
    said = f"{target.place + done!r} has no attribute {part!r}"
    near = _near(part, names)
    if near:
        return said + near
    graphs = [name for name in names if _fits(getattr(owner, name, None), owner)]
    return f"{said}; its graphs and functions: {', '.join(graphs[:10]) or 'none'}"


def _default(target: Target, module: ModuleType) -> tuple[str, Any]:
    fitting = [name for name in DEFAULTS if _fits(getattr(module, name, None), module)]
    if len(fitting) == 1:
        return fitting[0], getattr(module, fitting[0])
    if fitting:
        both = " and ".join(map(target.with_attribute, fitting))
        raise CommandError(f"{target.place!r} has two that could be meant: say which of {both}")
    others = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and _fits(value, module) and not (callable(value) and _needed(value))
    ]
    if others:
        shown = ", ".join(map(target.with_attribute, others[:5]))
        raise CommandError(
            f"{target.place!r} has neither 'build' nor 'graph': name what to load, such as {shown}"
        )
    raise CommandError(
        f"{target.place!r} has neither 'build' nor 'graph', nor anything else to load: define build() and return a Subgraph or a Scheduler"
    )


def _fits(value: Any, owner: Any) -> bool:
    """Say whether a value of a module may be what is meant: a graph, a scheduler, or the module's own function."""
    if isinstance(value, (Subgraph, Scheduler)):
        return True
    own = getattr(value, "__module__", None) == getattr(owner, "__name__", None) or not isinstance(
        owner, ModuleType
    )
    return inspect.isroutine(value) and own and value is not graph


def defined(path: Path) -> list[str] | None:
    """Return what a target may name at the top of a file, by reading it; ``None`` if it can't be read, or isn't Python.

    These are variables, and functions that need no arguments.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    names: list[str] = []
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = statement.args
            needed = len(given.posonlyargs) + len(given.args) - len(given.defaults)
            if not needed and None not in given.kw_defaults:
                names.append(statement.name)
        elif isinstance(statement, ast.Assign):
            names += [target.id for target in statement.targets if isinstance(target, ast.Name)]
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.append(statement.target.id)
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


# ---- what it is ----------------------------------------------------------------------------------------------------


def _as_scheduler(name: str, value: Any, runner: asyncio.Runner) -> Scheduler:
    said = "is"
    if not isinstance(value, (Subgraph, Scheduler, Wirable, Flow)) and callable(value):
        _check_arguments(name, value)
        said = "returned"
        with _their_code(f"calling {name}"):
            value = value()
            if inspect.isawaitable(value):
                value = runner.run(_awaited(value))
    if isinstance(value, Scheduler):
        return value
    if isinstance(value, Subgraph):
        scheduler = Scheduler()
        scheduler.register(value)
        return scheduler
    kind = "None" if value is None else f"{_article(type(value).__name__)} {type(value).__name__}"
    if isinstance(value, (Wirable, Flow)):
        fix = "make a graph of it, meridian.graph('name', ...)"
    elif value is None and said == "returned":
        fix = "return a Subgraph or a Scheduler at its end"
    else:
        fix = f"name {WANTED}"
    raise CommandError(f"{name} {said} {kind}: {fix}")


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def _needed(function: Callable[..., Any]) -> list[str]:
    """Return the parameters that a call must give."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return []
    return [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def _check_arguments(name: str, function: Callable[..., Any]) -> None:
    needed = _needed(function)
    if needed:
        raise CommandError(
            f"{name} needs arguments ({', '.join(needed)}), and is called with none: give them defaults, or read "
            "sys.argv, which holds what follows -- on the command line"
        )


def _article(noun: str) -> str:
    return "an" if noun[:1] in "AEIOUaeiou" else "a"


# ---- the user's own code -------------------------------------------------------------------------------------------


def exit_code(error: SystemExit) -> str:
    """Return the argument of a call of ``sys.exit``: a number, or else only its type, as a text may hold anything."""
    if error.code is None:
        return ""
    return str(error.code) if type(error.code) in (int, bool) else type_name(error.code)


@contextmanager
def _their_code(doing: str) -> Generator[None]:
    """Turn whatever the user's code raises into a `CommandError` that shows their part of the traceback."""
    try:
        yield
    except CommandError:
        raise
    except SystemExit as error:
        raise CommandError(
            f"{doing} called sys.exit({exit_code(error)}): put what only a script should do below if __name__ == '__main__'"
        ) from error
    except Exception as error:
        raise CommandError(
            f"{doing} raised {type(error).__name__}: see its traceback above", details=their_traceback(error)
        ) from error


def their_traceback(error: BaseException) -> str:
    """Return the traceback of an error without the frames that led from here to the user's code."""
    shown = traceback.TracebackException.from_exception(error, compact=True)
    _without_ours(shown)
    return "".join(shown.format())


def _without_ours(shown: traceback.TracebackException) -> None:
    inside = [frame for frame in shown.stack if not frame.filename.startswith("<frozen importlib")]
    while inside and inside[0].filename.startswith((_OURS, _ASYNCIO, _IMPORTLIB)):
        del inside[0]
    shown.stack[:] = inside
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if other is not None:
            _without_ours(other)


def _their_frames(trace: Any) -> bool:
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(("<frozen importlib", _OURS, _IMPORTLIB)):
            return True
        trace = trace.tb_next
    return False
