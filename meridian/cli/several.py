"""Several targets: which ones are meant, and each looked at as if it were the only one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from meridian.cli.codes import CommandError
from meridian.cli.streams import tell
from meridian.cli.target import DEFAULTS, FORMS, current_folder, defined, parse

Seen = TypeVar("Seen")

_DEFAULTS = frozenset(DEFAULTS)


@dataclass(frozen=True, slots=True)
class Looked(Generic[Seen]):
    """What came of looking at targets.

    Attributes:
        seen: What was seen of each.
        refused: What is wrong with those that can't be loaded; stderr was told.
    """

    seen: dict[str, Seen]
    refused: dict[str, str]

    @property
    def only(self) -> str | None:
        """The target, if there was but one."""
        return next(iter(self.seen)) if len(self.seen) + len(self.refused) == 1 else None

    def as_dict(self) -> dict[str, Any]:
        """Return what a JSON object says of them where there are several."""
        refused = [{"target": target, "error": error} for target, error in self.refused.items()]
        return {"targets": list(self.seen), "not_loaded": refused}


def look_at_each(targets: Sequence[str], look: Callable[[str], Seen]) -> Looked[Seen]:
    """Look at targets one after the other; of several, one that can't be loaded doesn't hide what the others have.

    Args:
        targets: As they were written; folders may be among them.
        look: Loads a target and returns what is to be seen.

    Raises:
        CommandError: a folder has no graph, or the current one has gone; or the only target can't be loaded.
    """
    here = current_folder()
    wanted = list(dict.fromkeys(each for target in targets for each in _meant(target)))
    if len(wanted) == 1:
        return Looked({wanted[0]: look(wanted[0])}, {})
    seen: dict[str, Seen] = {}
    refused: dict[str, str] = {}
    for target in wanted:
        try:
            with _alone(here):
                seen[target] = look(target)
        except CommandError as error:
            tell(error)
            refused[target] = str(error)
    return Looked(seen, refused)


def _meant(target: str) -> list[str]:
    """Return the files that a folder stands for; anything else stands for itself, and so does what can't be looked at."""
    folder = Path(target)
    if not os.path.isdir(folder) or (
        not parse(target).is_file and not _DEFAULTS.isdisjoint(defined(folder / "__init__.py") or ())
    ):
        return [target]
    files = [path.as_posix() for path in _files(folder) if _may_be_meant(path)]
    if not files:
        raise CommandError(
            f"{target!r} is a folder, and no file in it defines {' or '.join(DEFAULTS)}: name what to load, {FORMS}"
        )
    return files


def _files(folder: Path) -> Iterator[Path]:
    """Yield Python files in a folder and below it, but not those of virtual environments, nor hidden ones."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith((".", "__")) and not os.path.exists(here / name / "pyvenv.cfg")
        )
        yield from (here / name for name in sorted(names) if name.endswith(".py") and name[0] != ".")


def _may_be_meant(path: Path) -> bool:
    """Say whether a file defines what is meant where a target has no attribute; one that can't be read isn't passed over."""
    names = defined(path)
    return names is None or not _DEFAULTS.isdisjoint(names)


@contextmanager
def _alone(here: str) -> Generator[None]:
    """Forget at the end what a target's folder brought in, so that the next one imports its own siblings.

    Packages that are installed stay, as does what was imported before.
    """
    path, modules = list(sys.path), set(sys.modules)
    try:
        yield
    finally:
        places = {*sys.path}.difference(path) | {here}
        sys.path[:] = path
        brought = {
            name for name, module in list(sys.modules.items())
            if name not in modules and "." not in name and _place(module) in places
        }  # fmt: skip
        for name in list(sys.modules):
            if name.partition(".")[0] in brought:
                del sys.modules[name]


def _place(module: ModuleType) -> str | None:
    """Return the folder by which a module was found."""
    inside = list(getattr(module, "__path__", ()) or ())
    file = inside[0] if inside else getattr(module, "__file__", None)
    return None if file is None else os.path.dirname(os.path.abspath(file))
