"""What a graph runs on: system, Python, packages, processors, and the environment variables that matter."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from meridian import __version__
from meridian.core.errors import EngineError
from meridian.engine.select import engine_factory, native
from meridian.introspect import CpuSnapshot
from meridian.runtime import cpu

if TYPE_CHECKING:
    from collections.abc import Mapping

_SWITCH = frozenset({"0", "1", ""})

VARIABLES: dict[str, frozenset[str]] = {
    "MERIDIAN_ENGINE": frozenset({"auto", "python", "rust"}),
    "MERIDIAN_INSPECT": _SWITCH,
    "MERIDIAN_SET_CPU_AFFINITY": _SWITCH,
    **dict.fromkeys(
        (
            "CONDA_PREFIX",
            "LANG",
            "LC_ALL",
            "MERIDIAN_REDACTION",
            "NO_COLOR",
            "OMP_NUM_THREADS",
            "PYTHONASYNCIODEBUG",
            "PYTHONDEVMODE",
            "PYTHONFAULTHANDLER",
            "PYTHONHASHSEED",
            "PYTHONHOME",
            "PYTHONMALLOC",
            "PYTHONOPTIMIZE",
            "PYTHONPATH",
            "PYTHONSAFEPATH",
            "PYTHONUNBUFFERED",
            "PYTHONUTF8",
            "PYTHONWARNINGS",
            "PYTHON_GIL",
            "TERM",
            "TZ",
            "VIRTUAL_ENV",
            "XDG_RUNTIME_DIR",
        ),
        frozenset[str](),
    ),
}
"""Environment variables that are told by name, each with the values that are told too; all others are only counted."""

OTHER_VALUE = "<another value>"


@dataclass(frozen=True, slots=True)
class System:
    """An operating system.

    Attributes:
        name: Such as ``Linux``.
        release: Version of its kernel.
        machine: Kind of processor, such as ``x86_64``.
        libc: C library and its version; empty where that isn't known.
    """

    name: str
    release: str
    machine: str
    libc: str


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter.

    Attributes:
        version: Such as ``3.12.1``.
        implementation: Such as ``CPython``.
        compiler: What it was built with.
        has_lock: It has the global interpreter lock; ``None`` if it doesn't say.
        optimized: Assertions are off.
    """

    version: str
    implementation: str
    compiler: str
    has_lock: bool | None
    optimized: bool


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution.

    Attributes:
        name: Its name.
        version: Its version.
    """

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that is set.

    Attributes:
        name: Its name.
        value: Its value, if it is one of those that are known; ``<another value>`` if not; ``None`` where no value is ever told.
    """

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Environment:
    """What a graph runs on, as the command that made the bundle sees it.

    Attributes:
        system: The operating system.
        python: The interpreter.
        meridian: Version of the runtime.
        engine: The engine that a run would get here, or ``None`` if it would be refused.
        engine_reason: Why that one.
        build: What build of the extension is loaded, or ``None``.
        cpu: Which processors there are.
        cpu_notes: Why parts of that are missing.
        packages: What is installed, by name.
        variables: Known environment variables that are set, by name: of the process that is looked at, where it tells.
        variables_of: ``process`` or ``command``: whose they are.
        other_variables: How many others are set.
    """

    system: System
    python: Python
    meridian: str
    engine: str | None
    engine_reason: str
    build: str | None
    cpu: CpuSnapshot
    cpu_notes: tuple[str, ...]
    packages: tuple[Package, ...]
    variables: tuple[Variable, ...]
    variables_of: str
    other_variables: int


def gather_environment(variables: Mapping[str, str] | None) -> Environment:
    """Find out what a graph runs on.

    Args:
        variables: Of the process that is looked at, or ``None`` to take one's own.
    """
    engine: str | None
    try:
        _, chosen = engine_factory()
        engine, reason = chosen.name, chosen.reason
    except EngineError:  # its text has the value of the variable, which may be any
        engine, reason = None, "MERIDIAN_ENGINE asks for one that can't be had"
    extension = native()
    topology = cpu.detect()
    given = os.environ if variables is None else variables
    has_lock = getattr(sys, "_is_gil_enabled", None)
    return Environment(
        system=System(
            platform.system(), platform.release(), platform.machine(), " ".join(platform.libc_ver())
        ),
        python=Python(
            platform.python_version(),
            platform.python_implementation(),
            platform.python_compiler(),
            None if has_lock is None else bool(has_lock()),
            sys.flags.optimize > 0,
        ),
        meridian=__version__,
        engine=engine,
        engine_reason=reason,
        build=None if extension is None else extension.build_info(),
        cpu=CpuSnapshot(
            topology.logical,
            topology.visible,
            topology.visible_source,
            topology.affinity_count,
            topology.quota,
            topology.quota_source,
        ),
        cpu_notes=topology.notes,
        packages=_packages(),
        variables=tuple(_variable(name, given[name]) for name in sorted(VARIABLES) if name in given),
        variables_of="command" if variables is None else "process",
        other_variables=sum(name not in VARIABLES for name in given),
    )


def _variable(name: str, value: str) -> Variable:
    known = VARIABLES[name]
    if not known:
        return Variable(name, None)
    return Variable(name, value if value in known else OTHER_VALUE)


def _packages() -> tuple[Package, ...]:
    found: set[tuple[str, str]] = set()
    for each in metadata.distributions():
        # What somebody half removed has neither.
        name, version = each.metadata["Name"], each.metadata["Version"]
        if name and version:
            found.add((name, version))
    return tuple(Package(*each) for each in sorted(found, key=lambda each: (each[0].lower(), each)))
