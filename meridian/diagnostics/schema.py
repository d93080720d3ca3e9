"""The JSON Schema of a manifest, made from its classes."""

from __future__ import annotations

from typing import Any

from meridian.diagnostics.manifest import SCHEMA_VERSION, Manifest
from meridian.introspect.schema import object_schema


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of ``manifest.json``; it leaves room for fields of later minor versions."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:meridian:bundle-manifest:{SCHEMA_VERSION}",
        **object_schema(Manifest),
        "$defs": {cls.__name__: object_schema(cls) for cls in Manifest.SHAPES},
    }
    schema["properties"]["schema_version"]["pattern"] = rf"^{SCHEMA_VERSION.partition('.')[0]}\.\d+$"
    return schema
