"""Which files configure a project, and whether they are the ones somebody thinks they are: checksums, never contents."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (
    "Pipfile",
    "Pipfile.lock",
    "meridian.toml",
    "pdm.lock",
    "pixi.lock",
    "poetry.lock",
    "pyproject.toml",
    "requirements-dev.txt",
    "requirements.in",
    "requirements.txt",
    "setup.cfg",
    "setup.py",
    "tox.ini",
    "uv.lock",
)
"""Names that are looked for; files that keep secrets, such as ``.env``, aren't among them: a checksum could be guessed at."""

_ROOT = ("pyproject.toml", ".git")
_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """One file.

    Attributes:
        name: Its name, without the folder.
        size: Bytes.
        sha256: SHA-256 of its bytes, in hexadecimal digits.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """What configures a project.

    Attributes:
        files: What lies in the project's folder, by name.
        target: The file that TARGET names, or ``None``.
        unreadable: How many of them couldn't be read.
    """

    files: tuple[ConfigurationFile, ...]
    target: ConfigurationFile | None
    unreadable: int


def gather_configuration(folder: Path, target: Path | None) -> Configuration:
    """Add up the files of the project that ``folder`` lies in, and the file of TARGET."""
    files: list[ConfigurationFile] = []
    unreadable = 0
    root = project_root(folder)
    for name in NAMES:
        path = root / name
        if not path.is_file():
            continue
        try:
            files.append(_checked(path, name))
        except OSError:
            unreadable += 1
    own: ConfigurationFile | None = None
    if target is not None and target.is_file():
        try:
            own = _checked(target, target.name)
        except OSError:
            unreadable += 1
    return Configuration(tuple(files), own, unreadable)


def project_root(folder: Path) -> Path:
    """Return the nearest folder, from ``folder`` upwards, that looks like the root of a project; else ``folder``."""
    for each in (folder, *folder.parents):
        if any((each / name).exists() for name in _ROOT):
            return each
    return folder


def _checked(path: Path, name: str) -> ConfigurationFile:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while step := file.read(_STEP):
            digest.update(step)
            size += len(step)
    return ConfigurationFile(name, size, digest.hexdigest())
