"""What a measurement has to say about itself, and the records of those that the documentation quotes.

A record is ``docs/figures/NAME.json``: the command that gives the figures, when and where it ran, on which versions, and the
figures. Pages quote it (`ci/figures.py`); a command writes it when it is asked to, with ``--save``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"


def progress(text: str) -> None:
    """Say on stderr how far it is."""
    sys.stderr.write(text)
    sys.stderr.flush()


def hear_interruptions() -> None:
    """Let SIGINT and SIGTERM interrupt this process, though a shell that started it in the background made it deaf to them."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.default_int_handler)


def versions(**others: str) -> dict[str, str]:
    """Return the versions of Meridian and of Python, and those of what was measured beside."""
    import meridian

    return {"Meridian": meridian.__version__, "Python": platform.python_version(), **others}


def machine() -> dict[str, Any]:
    """Return what kind of machine this is, and how busy: no names, no paths."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "load": load(),
    }


def _cpu() -> str:
    told = Path("/proc/cpuinfo")
    if told.exists():
        for line in told.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def load() -> float | None:
    """Return how many processes want a CPU, over the last minute; ``None`` where the system doesn't count them."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


@dataclass(frozen=True)
class Table:
    """Figures as a page shows them: a heading for each column, with a colon at its end where numbers stand, and the rows."""

    columns: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """Lay the table out; columns of numbers are set to the right."""
        heads = [column.removesuffix(":") for column in self.columns]
        rules = ["---:" if column.endswith(":") else "---" for column in self.columns]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rules, *self.rows))


def record(
    command: str,
    values: dict[str, Any],
    tables: Mapping[str, Table] | None = None,
    others: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return the figures with all that a reader needs to judge and repeat them.

    Args:
        command: Gives the figures anew.
        values: By name; what pages quote one by one.
        tables: By name; what pages show as a whole.
        others: Versions of what was measured beside Meridian.
    """
    made: dict[str, Any] = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions(**(others or {})),
        "machine": machine(),
        "values": values,
    }
    if tables:
        made["tables"] = {name: {"columns": each.columns, "rows": each.rows} for name, each in tables.items()}
    return made


def source(made: dict[str, Any]) -> str:
    """Say in a sentence how, when and on what the figures of a record came about."""
    told = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    where = made["machine"]
    kind = f"{where['system']}, {where['cpus']} CPUs ({where['cpu']})"
    busy = "" if where["load"] is None else f", load {where['load']}"
    return f"*Measured on {made['date']} by `{made['command']}`: {told}; {kind}{busy}.*"


def offer_to_save(parser: argparse.ArgumentParser) -> None:
    """Give a command the option ``--save``."""
    parser.add_argument(
        "--save", action="store_true", help="keep the figures for the documentation, in docs/figures"
    )


def asked(command: str, arguments: Sequence[str]) -> str:
    """Return the command line that gives the figures anew; to keep them is no part of it."""
    return " ".join([command, *(each for each in arguments if each != "--save")])


def save(name: str, made: dict[str, Any]) -> Path:
    """Write a record where the pages look for it."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / f"{name}.json"
    path.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
