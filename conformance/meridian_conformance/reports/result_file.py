"""result.json: the whole result for programs, with a schema of its own."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from meridian_conformance.verdicts import Result

if TYPE_CHECKING:
    from pathlib import Path

VARIES = "x-varies"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of ``result.json``."""
    source = files("meridian_conformance") / "reports" / "result.schema.json"
    loaded: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return loaded


def dumps(result: Result) -> str:
    """Return the text of ``result.json``."""
    return json.dumps(result.to_json(), indent=2, ensure_ascii=False) + "\n"


def load(path: Path) -> Result:
    """Read a ``result.json``.

    Raises:
        OSError: it can't be read.
        ValueError: it is none; the text names the file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} is not a result of meridian-conform")
    try:
        return Result.from_json(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a result of meridian-conform: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def without_varying(data: Any, part: dict[str, Any] | None = None) -> Any:
    """Return a result (as JSON) without the fields that its schema declares to vary from run to run.

    What is left is equal for equal input, so results of two runs can be compared.

    Args:
        data: The content of a ``result.json``.
        part: The part of the schema that describes ``data``; the whole if None.
    """
    whole = schema()
    return _stable(data, whole if part is None else part, whole["$defs"])


def _stable(data: Any, part: dict[str, Any], known: dict[str, Any]) -> Any:
    part = _resolved(part, known)
    if isinstance(data, dict):
        fields = part.get("properties", {})
        return {
            name: _stable(value, fields.get(name, {}), known)
            for name, value in data.items()
            if not fields.get(name, {}).get(VARIES)
        }
    if isinstance(data, list):
        return [_stable(each, part.get("items", {}), known) for each in data]
    return data


def _resolved(part: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in part:
        part = part["anyOf"][0]
    reference = part.get("$ref", "")
    return known[reference.removeprefix("#/$defs/")] if reference else part
