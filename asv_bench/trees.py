"""The package as it is in some checkout, or with some edits, for processes that measure it.

What measures is always that of this checkout; only `meridian` is another one. So each tree is a folder of links, which the
process has as its ``PYTHONPATH``: the links are alike but for where they lead, and a process of the one tree differs from one of
the other in nothing else. Nothing is ever changed in a checkout: a tree with edits is a copy.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]


class TreeError(Exception):
    """There is no such package, or it isn't what an edit expects."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one place of the package.

    Attributes:
        file: Below ``meridian/``.
        old: What stands there; nowhere else in the file, unless ``times`` says so.
        new: What comes there.
        times: How often it stands there.
    """

    file: str
    old: str
    new: str
    times: int = 1

    def applied(self, text: str) -> str:
        """Return the file's text with the change.

        Raises:
            TreeError: ``old`` isn't there so often: the edit is out of date.
        """
        if (found := text.count(self.old)) != self.times:
            raise TreeError(
                f"{self.file} has {self.old!r} {found} times instead of {self.times}: the edit is out of date"
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Tree:
    """A package that can be measured.

    Attributes:
        label: What it is called in tables.
        path: The folder of links.
    """

    label: str
    path: Path

    def command(self, *arguments: str) -> list[str]:
        """Return the command of a process that has this package; not the working directory's, hence ``-P``."""
        return [sys.executable, "-P", *arguments]

    def environment(self, engine: str) -> dict[str, str]:
        """Return the environment of such a process."""
        return {**os.environ, "PYTHONPATH": str(self.path), "PYTHONHASHSEED": "0", "MERIDIAN_ENGINE": engine}


@contextmanager
def tree(
    label: str, checkout: Path = ROOT, edits: Sequence[Edit] = (), extension: Path | None = None
) -> Iterator[Tree]:
    """Give the package of a checkout for a while.

    Args:
        label: What it is called.
        checkout: The folder with ``meridian/`` in it.
        edits: Made in a copy.
        extension: The folder in which ``meridian_fast`` is; the installed one by default.

    Raises:
        TreeError: there is no package, or an edit is out of date.
    """
    package = checkout.resolve() / "meridian"
    if not (package / "__init__.py").is_file():
        raise TreeError(f"{checkout} has no package meridian")
    with TemporaryDirectory(prefix="meridian-tree-") as folder:
        path = Path(folder)
        if edits:
            copy(package, path / "meridian", edits)
        else:
            (path / "meridian").symlink_to(package)
        (path / "asv_bench").symlink_to(ROOT / "asv_bench")
        (path / "meridian_conformance").symlink_to(ROOT / "conformance" / "meridian_conformance")
        if extension is not None:
            for found in extension.glob("meridian_fast*"):
                (path / found.name).symlink_to(found.resolve())
        yield Tree(label, path)


def copy(package: Path, to: Path, edits: Sequence[Edit]) -> None:
    """Copy a package without its tests, and make some edits in the copy.

    Raises:
        TreeError: an edit is out of date.
    """
    shutil.copytree(package, to, ignore=shutil.ignore_patterns("_tests", "__pycache__"))
    for edit in edits:
        file = to / edit.file
        file.write_text(edit.applied(file.read_text()))
