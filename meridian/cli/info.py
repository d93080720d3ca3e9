"""``meridian info``: what a report about a problem should begin with."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from rich.text import Text

from meridian.cli.codes import Code
from meridian.cli.streams import VERSION, answer, write_json
from meridian.cli.tables import console_for
from meridian.core.errors import EngineError
from meridian.engine.select import engine_factory, native
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


def info(*, as_json: bool) -> Code:
    """Show what is installed and what it runs on; return the exit code."""
    facts = gather()

    def body(out: Any) -> Code:
        if as_json:
            write_json(out, None, facts)
        else:
            _show(facts)
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


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _show(facts: dict[str, Any]) -> None:
    console = console_for("stdout")

    def line(name: str, value: str) -> None:
        console.print(Text.assemble((f"{name:<10}", "bold"), value), soft_wrap=True)

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
