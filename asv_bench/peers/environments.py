"""The interpreters that the contenders run on, each with an environment of its own, made on first use under build/."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from asv_bench import v1_side_by_side
from asv_bench.peers.contenders import OURS, PEERS, V1
from asv_bench.record import ROOT, progress
from asv_bench.v1_side_by_side import SetupError, clean

PINS = ROOT / "ci" / "requirements" / "peers.txt"
BUILD = ROOT / "build"


def interpreters(environments: set[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the Python of each environment that there is, and why there is none for the others."""
    made: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for environment in sorted(environments):
        try:
            if environment == OURS:
                made[environment] = Path(sys.executable)
            elif environment == V1:
                made[V1] = v1_side_by_side.interpreter(BUILD / f"v1-{v1_side_by_side.VERSION}")
            else:
                made[PEERS] = peers()
        except SetupError as error:
            progress(f"{error}\n")
            missing[environment] = "its environment could not be made: no network, or no package index"
    return made, missing


def peers() -> Path:
    """Return the Python of the environment with the peers, made anew when its pins change.

    Raises:
        SetupError: it can't be made.
    """
    venv = BUILD / "peers-env"
    python = venv / "bin" / "python"
    stamp = venv / "pins"
    pins = hashlib.sha256(PINS.read_bytes()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == pins:
        return python
    progress(f"installing the peers into {venv.relative_to(ROOT)} ")
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
         "--requirement", str(PINS)],
    ):  # fmt: skip
        done = subprocess.run(command, env=clean(), capture_output=True, text=True, check=False)
        progress(".")
        if done.returncode:
            told = (done.stderr or done.stdout).strip().splitlines()
            progress("\n")
            raise SetupError(f"the peers could not be installed: {told[-1] if told else done.returncode}")
    stamp.write_text(pins, encoding="utf-8")
    progress("\n")
    return python
