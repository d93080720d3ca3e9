"""The manifest of a bundle: what is in it, what is missing, and what was scrubbed.

A bundle is a zip file. Its first member is ``manifest.json``; the others are those of `CATALOGUE`, each made of enumerated fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, cast

from meridian.diagnostics.errors import BundleError

SCHEMA_VERSION = "1.0"
"""``MAJOR.MINOR`` of the manifest and the members. Within a major version fields are only added."""

MANIFEST = "manifest.json"


class Kind(NamedTuple):
    """One member that a bundle may have.

    Attributes:
        name: Name in the zip file.
        means: What it says, in one sentence.
        varies: What differs between two bundles of one state: fields as ``member#/key/*/key``, where ``*`` is any key or item,
            or the member as a whole.
    """

    name: str
    means: str
    varies: tuple[str, ...] = ()


CATALOGUE: tuple[Kind, ...] = (
    Kind("configuration.json", "Files that configure the project: name, size and SHA-256, never contents."),
    Kind(
        "environment.json",
        "Operating system, Python, installed packages, processors, and known environment variables.",
    ),
    Kind(
        "events.json",
        "The last events of the process: errors, losses, changes of state.",
        ("events.json",),
    ),
    Kind(
        "findings.json",
        "Which node, edge or process is the culprit, why, and what to do.",
        ("findings.json#/findings/*/run", "findings.json#/findings/*/what"),
    ),
    Kind("issues.json", "What is wrong with the graph of TARGET, and what smells in it."),
    Kind("log.txt", "The end of the log file that was named with --log, scrubbed."),
    Kind("logs.json", "The last records that the runtime logged, without free texts.", ("logs.json",)),
    Kind(
        "metrics.prom",
        "The numbers of the runs as text for Prometheus, from the later look.",
        ("metrics.prom",),
    ),
    Kind(
        "runtime.json",
        "The process: its state, command, memory and age, and whether it answered.",
        tuple(
            f"runtime.json#/{name}"
            for name in ("pid", "state", "threads", "open_files", "memory_bytes", "cpu_s", "age_s", "runs")
        ),
    ),
    Kind("snapshots.json", "Two looks at each run, a window apart.", ("snapshots.json",)),
    Kind("topology.json", "Nodes and edges.", ("topology.json#/graphs/*/run",)),
)
"""Every member there is besides the manifest, by name."""

KNOWN = frozenset({MANIFEST, *(kind.name for kind in CATALOGUE)})

VARIES_IN_MANIFEST = tuple(
    f"{MANIFEST}#/{path}"
    for path in ("made_at", "members/*/sha256", "members/*/size", "missing/*/reason", "scrubbed/*")
)
"""And of the manifest: when it was made, and what follows from members that differ."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a bundle.

    Attributes:
        name: Name in the zip file.
        means: What it says, in one sentence.
        size: Bytes.
        sha256: SHA-256 of its bytes, in hexadecimal digits.
    """

    name: str
    means: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Missing:
    """One member that this bundle doesn't have.

    Attributes:
        name: Name that it would have.
        reason: Why it isn't there.
        failed: It was asked for and could not be had; otherwise there was nothing to ask.
    """

    name: str
    reason: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says about itself.

    Attributes:
        schema_version: Of this file and of the members; see `SCHEMA_VERSION`.
        made_by: What made it, such as ``meridian 2.0.0``.
        made_at: When, in UTC, such as ``2026-11-29T18:00:00Z``.
        members: What is in it besides this file, by name.
        missing: What isn't in it, and why, by name.
        policy: Name of the redaction policy that it was made with.
        exposes: What that policy lets out that the default one doesn't.
        scrubbed: How often each rule was applied on the way into it; what it was applied to isn't kept.
        varies: What may differ between two bundles of one state: ``member#/key/*/key``, or a whole member.
    """

    schema_version: str
    made_by: str
    made_at: str
    members: tuple[Member, ...]
    missing: tuple[Missing, ...]
    policy: str
    exposes: tuple[str, ...]
    scrubbed: dict[str, int]
    varies: tuple[str, ...]

    SHAPES: ClassVar[tuple[type, ...]] = (Member, Missing)
    """What it is made of, for the schema."""

    @classmethod
    def from_dict(cls, data: Any) -> Manifest:
        """Return the manifest that was written, with everything checked; fields of a newer minor version are left out.

        Raises:
            BundleError: it is none, or one of another major version.
        """
        version = _field(data, "schema_version", str)
        if not re.fullmatch(r"\d+\.\d+", version):
            raise BundleError(f"{MANIFEST}: schema_version is no MAJOR.MINOR", MANIFEST)
        if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
            raise BundleError(
                f"{MANIFEST} has schema {version}, and this Meridian reads {SCHEMA_VERSION}", MANIFEST
            )
        scrubbed = _field(data, "scrubbed", dict)
        if not all(type(key) is str and type(n) is int and n >= 0 for key, n in scrubbed.items()):
            raise BundleError(f"{MANIFEST}: scrubbed is no table of counts", MANIFEST)
        made = cls(
            schema_version=version,
            made_by=_field(data, "made_by", str),
            made_at=_field(data, "made_at", str),
            members=tuple(_shape(Member, each) for each in _field(data, "members", list)),
            missing=tuple(_shape(Missing, each) for each in _field(data, "missing", list)),
            policy=_field(data, "policy", str),
            exposes=_texts(data, "exposes"),
            scrubbed=scrubbed,
            varies=_texts(data, "varies"),
        )
        names = [*(each.name for each in made.members), *(each.name for each in made.missing)]
        if len(set(names)) != len(names):
            raise BundleError(f"{MANIFEST} names a member twice", MANIFEST)
        return made


_TYPES = {"str": str, "int": int, "bool": bool}


def _shape(cls: type[Any], data: Any) -> Any:
    return cls(**{field.name: _field(data, field.name, _TYPES[str(field.type)]) for field in fields(cls)})


def _texts(data: Any, name: str) -> tuple[str, ...]:
    said = _field(data, name, list)
    if not all(type(each) is str for each in said):
        raise BundleError(f"{MANIFEST}: {name} is no list of texts", MANIFEST)
    return tuple(said)


def _field(data: Any, name: str, kind: type[Any]) -> Any:
    if type(data) is not dict:
        raise BundleError(
            f"{MANIFEST}: an object was expected, and a {type(data).__name__} is there", MANIFEST
        )
    said = cast("dict[str, Any]", data)
    if name not in said:
        raise BundleError(f"{MANIFEST}: field {name} is missing", MANIFEST)
    value = said[name]
    if type(value) is not kind or (kind is int and value < 0):
        raise BundleError(f"{MANIFEST}: field {name} is not what it should be", MANIFEST)
    return value
