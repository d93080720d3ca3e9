"""The JSON Schema of what introspection says, made from the classes themselves."""

from __future__ import annotations

import re
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from meridian.core.json_schema import DIALECT
from meridian.introspect.comparison import COMPARISON_VERSION, Comparison
from meridian.introspect.graph import GRAPH_VERSION, DeclaredGraph
from meridian.introspect.model import SCHEMA_VERSION, Snapshot
from meridian.introspect.profile import PROFILE_VERSION, Profile

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def snapshot_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `Snapshot.as_dict`."""
    return document_schema(Snapshot, "snapshot", SCHEMA_VERSION, Snapshot.SHAPES)


def profile_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `Profile.as_dict`."""
    made = document_schema(Profile, "profile", PROFILE_VERSION, Profile.SHAPES)
    made["properties"]["kind"]["const"] = "profile"
    return made


def comparison_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `Comparison.as_dict`."""
    made = document_schema(Comparison, "comparison", COMPARISON_VERSION, Comparison.SHAPES)
    made["properties"]["kind"]["const"] = "comparison"
    return made


def graph_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `DeclaredGraph.as_dict`."""
    made = document_schema(DeclaredGraph, "graph", GRAPH_VERSION, DeclaredGraph.SHAPES)
    made["properties"]["kind"]["const"] = "graph"
    return made


def document_schema(cls: type[Any], name: str, version: str, shapes: tuple[type, ...]) -> dict[str, Any]:
    """Return the schema of a whole document.

    It leaves room for more keys, as later minor versions add some.

    Args:
        cls: Its class.
        name: What it is called among the documents of Meridian.
        version: ``MAJOR.MINOR``; a document of the same major version fits.
        shapes: The classes that it is made of.
    """
    made: dict[str, Any] = {
        "$schema": DIALECT,
        "$id": f"urn:meridian:{name}:{version}",
        **object_schema(cls),
        "$defs": {shape.__name__: object_schema(shape) for shape in shapes},
    }
    made["properties"]["schema_version"]["pattern"] = rf"^{version.partition('.')[0]}\."
    return made


def object_schema(cls: type[Any]) -> dict[str, Any]:
    """Return the schema of one class, with its docstring's words."""
    hints, said = get_type_hints(cls), {}
    for base in reversed(cls.__mro__):
        said.update(_attributes(base.__doc__ or ""))
    names = [field.name for field in fields(cls)]
    return {
        "title": cls.__name__,
        "description": (cls.__doc__ or "").partition("\n")[0],
        "type": "object",
        "required": names,
        "properties": {name: {**_schema(hints[name]), "description": said[name]} for name in names},
    }


def _schema(kind: Any) -> dict[str, Any]:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        parts = [_schema(each) for each in args]
        if all(set(part) == {"type"} for part in parts):
            return {"type": [part["type"] for part in parts]}
        return {"anyOf": parts}
    if origin in (tuple, list):
        return {"type": "array", "items": _schema(args[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(args[1])}
    if origin is Literal:
        return {"enum": list(args)}
    if kind is Any:
        return {}
    if kind in _TYPES:
        return {"type": _TYPES[kind]}
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _attributes(doc: str) -> dict[str, str]:
    """Return what the section ``Attributes`` of a docstring says about each."""
    section = doc.partition("Attributes:\n")[2].partition("\n\n")[0]
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        match = re.match(r"\s{4,8}(\w+): (.*)", line)
        if match and len(line) - len(line.lstrip()) <= 8:
            name = match[1]
            found[name] = match[2]
        elif name:
            found[name] += " " + line.strip()
    return {name: text.replace("``", "`").strip() for name, text in found.items()}
