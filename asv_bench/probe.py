"""What the chain costs in C: rings, a ready queue, the same Python functions, and nothing else of a runtime.

The probe is not part of the project. Where the environment variable ``FLOOR`` names a folder with its source, ``floor.c``,
it is compiled for this interpreter under ``build/`` and measured beside us.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from shutil import which
from typing import Any

from asv_bench.shape import BATCH, CAPACITY, CHAIN_HOPS, MIDDLE, Stopwatch, same, triangle, verify

BUILT = Path(__file__).parents[1] / "build" / "floor"
RETURNS = 0
"""The probe's name for functions whose result goes on."""


def missing() -> str:
    """Say why there is no probe here; nothing if there is one."""
    folder = os.environ.get("FLOOR")
    if not folder:
        return "the C probe is measured where FLOOR names the folder of its floor.c"
    if not (Path(folder) / "floor.c").is_file():
        return f"FLOOR={folder} has no floor.c"
    return "" if which("cc") else "there is no cc to compile the C probe with"


def load() -> Any:
    """Return the probe as a module, compiled if its source is newer.

    Raises:
        subprocess.CalledProcessError: it doesn't compile; why is on stderr.
    """
    code = Path(os.environ["FLOOR"]) / "floor.c"
    built = BUILT / f"floorx{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not built.exists() or built.stat().st_mtime < code.stat().st_mtime:
        BUILT.mkdir(parents=True, exist_ok=True)
        include = sysconfig.get_paths()["include"]
        command = ["cc", "-O2", "-shared", "-fPIC", f"-I{include}", str(code), "-o", str(built)]
        subprocess.run(command, check=True)
    spec = spec_from_file_location("floorx", built, loader=ExtensionFileLoader("floorx", str(built)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Total:
    """A sink that adds up."""

    def __init__(self) -> None:
        self.sum = 0

    def add(self, x: int) -> None:
        self.sum += x


def chain(probe: Any, n: int) -> float:
    """W1: ``n`` numbers through three nodes into a sum; return nanoseconds per hop."""
    watch, total = Stopwatch(), Total()
    watch.start()
    probe.chain([*[same] * MIDDLE, total.add], n, CAPACITY, BATCH, RETURNS)
    watch.stop()
    verify("C probe", total.sum, triangle(n))
    return watch.ns / (n * CHAIN_HOPS)
