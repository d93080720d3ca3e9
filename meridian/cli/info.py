"""``meridian info``: what a report about a problem should begin with."""

from __future__ import annotations

import os
import platform
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from meridian.cli.codes import Code
from meridian.cli.process import choose, connect, refused
from meridian.cli.profile_table import duration
from meridian.cli.streams import VERSION, answer, write_json
from meridian.cli.tables import console_for
from meridian.cli.validate import count
from meridian.core.errors import EngineError
from meridian.engine.select import engine_factory, native
from meridian.introspect.errors import IntrospectionError
from meridian.redaction import redactor
from meridian.redaction.names import clean
from meridian.runtime import cpu

OPTIONAL = {
    "cli": ("typer", "rich"),
    "fast": ("meridian-fast",),
    "prometheus": ("prometheus-client",),
    "otel": ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
    "tui": ("textual",),
    "schemas": ("pydantic", "msgspec", "jsonschema"),
    "http": ("aiohttp",),
    "redis": ("redis",),
    "crypto": ("cryptography",),
}
"""The packages of each extra."""


def info(pid: int | None = None, path: str | None = None, *, as_json: bool) -> Code:
    """Show what is installed and what it runs on, or what a running process says of itself; return the exit code.

    Args:
        pid: What ``--pid`` says.
        path: What ``--socket`` says.
        as_json: One JSON object.
    """

    def body(out: Any) -> Code:
        here = pid is None and path is None
        facts = gather() if here else _ask(choose(pid, path))
        if as_json:
            write_json(out, None, facts)
        elif here:
            _show(facts)
        else:
            _show_process(facts)
        return Code.OK

    return answer(None, as_json, body)


def gather() -> dict[str, Any]:
    """Return all that is shown, ready for JSON."""
    try:
        engine: dict[str, Any] = dict(engine_factory()[1]._asdict())
    except EngineError as error:  # a run would fail with this; here it is what somebody wants to know
        engine = {"name": None, "reason": str(error), "refused": False}
    extension = native()
    engine["build"] = None if extension is None else extension.build_info()
    engine["asked"] = os.environ.get("MERIDIAN_ENGINE", "auto")
    topology = cpu.detect()
    return {
        "engine": engine,
        "python": {"version": platform.python_version(), "implementation": platform.python_implementation()},
        "platform": platform.platform(),
        "cpu": {
            "logical": topology.logical,
            "visible": topology.visible,
            "visible_source": topology.visible_source,
            "affinity": topology.affinity_count,
            "quota": topology.quota,
            "quota_source": topology.quota_source,
            "notes": list(topology.notes),
        },
        "packages": {
            name: {"extra": extra, "version": _version(name)}
            for extra, names in OPTIONAL.items()
            for name in names
        },
    }


def _ask(place: int | Path) -> dict[str, Any]:
    """Return what a process says of itself, ready for JSON.

    Raises:
        CommandError: it can't be looked at, or doesn't answer.
    """
    with connect(place) as client:
        try:
            shots = client.snapshots()
        except IntrospectionError as error:
            raise refused(error) from error
        shown = redactor().text
        return {
            "pid": client.pid,
            "meridian": shown(client.meridian),
            "python": None if client.python is None else shown(client.python),
            "runs": [
                {
                    "run": said["run"],
                    "status": said["status"],
                    "elapsed_s": said["elapsed_s"],
                    "engine": said["engine"],
                    "nodes": len(said["nodes"]),
                    "edges": len(said["edges"]),
                    "errors_total": said["errors_total"],
                }
                for said in (shot.as_dict() for shot in shots)
            ],
        }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _line(console: Console, name: str, value: str) -> None:
    console.print(Text.assemble((f"{name:<10}", "bold"), value), soft_wrap=True)


def _show_process(facts: dict[str, Any]) -> None:
    line = partial(_line, console_for("stdout"))
    line("process", str(facts["pid"]))
    line("meridian", clean(facts["meridian"]))
    line("python", clean(facts["python"] or "an older Meridian doesn't say"))
    if not facts["runs"]:
        line("run", "none is under way")
    for run in facts["runs"]:
        engine = run["engine"]
        line("run", clean(f"{run['run']}: {run['status']} for {duration(run['elapsed_s'])}"))
        line("engine", clean(f"{engine['name']} ({engine['reason']})"))
        sizes = (("nodes", "node"), ("edges", "edge"), ("errors_total", "error"))
        line("graph", ", ".join(count(run[key], noun) for key, noun in sizes))


def _show(facts: dict[str, Any]) -> None:
    line = partial(_line, console_for("stdout"))
    engine, python, cpus = facts["engine"], facts["python"], facts["cpu"]
    line("meridian", VERSION)
    line("engine", f"{engine['name'] or 'none'} ({engine['reason']})")
    line("build", engine["build"] or "no extension is loaded")
    line("python", f"{python['version']} ({python['implementation']})")
    line("platform", facts["platform"])
    line("cpus", ", ".join(_cpus(cpus)))
    for note in cpus["notes"]:
        line("", note)
    for i, (name, package) in enumerate(facts["packages"].items()):
        missing = f"not installed: pip install 'meridian-runtime[{package['extra']}]'"
        line("packages" if i == 0 else "", f"{name} {package['version'] or missing}")


def _cpus(cpus: dict[str, Any]) -> list[str]:
    said = [f"{cpus['visible']} visible ({cpus['visible_source']})"]
    if cpus["logical"] is not None:
        said.insert(0, f"{cpus['logical']} logical")
    if cpus["affinity"] is not None:
        said.append(f"{cpus['affinity']} allowed by the affinity mask")
    said.append("no quota" if cpus["quota"] is None else f"quota {cpus['quota']:g} ({cpus['quota_source']})")
    return said
