"""Types of ports, written down: as annotations, and as JSON Schema."""

from __future__ import annotations

import datetime
import math
import re
import typing
import warnings
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from types import EllipsisType, NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

from meridian.core.json_schema import any_of, json_schema
from meridian.core.schema import required_keys
from meridian.redaction import class_name

_FORMATS: Final[dict[type, dict[str, Any]]] = {
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
    datetime.timedelta: {"type": "string", "format": "duration"},
    UUID: {"type": "string", "format": "uuid"},
    Decimal: {"type": "string"},
    Fraction: {"type": "string"},
}

_VALUES: Final = frozenset({"default", "example", "examples"})
"""Keywords of JSON Schema that hold values; a class that declares them may have put anything there."""

_NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords whose own keys are names of the user's."""


def type_text(hint: Any) -> str:
    """Return a type as somebody would annotate it; values in it are left out, but for those of literals."""
    if isinstance(hint, (tuple, list)):
        return " | ".join(map(type_text, hint))
    if hint is None or hint is NoneType:
        return "None"
    if hint is Any:
        return "Any"
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " | ".join(map(type_text, args))
    if origin is typing.Annotated:
        return type_text(args[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(_literal, args))}]"
    if origin is not None:
        inner = ", ".join("..." if isinstance(arg, EllipsisType) else type_text(arg) for arg in args)
        return f"{type_text(origin)}[{inner}]"
    if isinstance(hint, type):
        return class_name(hint)
    name = getattr(hint, "__name__", None)
    return name if isinstance(name, str) else class_name(type(hint))


def _literal(value: Any) -> str:
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    return repr(value) if isinstance(value, (str, bytes, int, NoneType)) else class_name(type(value))


class TypeWriter:
    """Writes JSON Schemas of types; classes are defined once, and referred to by name."""

    def __init__(self) -> None:
        self._names: dict[type, str] = {}
        self._defined: dict[str, Any] = {}

    def schema(self, hint: Any) -> dict[str, Any]:
        """Return the schema of a type; what it refers to is among what is `defined`.

        A class that can't be described is told by its name only: whatever its own code does here is no error.
        """
        made: dict[str, Any] = _as_json(self._schema(hint))
        return made

    def defined(self) -> dict[str, Any]:
        """Return the schemas of the classes so far, by name, in the order of names."""
        made: dict[str, Any] = {name: _as_json(self._defined[name]) for name in sorted(self._defined)}
        return made

    def _schema(self, hint: Any) -> dict[str, Any]:
        if isinstance(hint, (tuple, list)):
            return any_of(map(self._schema, hint))
        return json_schema(hint, self._other)

    def _other(self, hint: Any) -> dict[str, Any]:
        """Return the schema of what isn't simple."""
        origin = get_origin(hint)
        if origin is typing.Annotated or origin in (
            typing.Required,
            typing.NotRequired,
            typing.Final,
            typing.ClassVar,
        ):
            return self._schema(get_args(hint)[0])
        if isinstance(hint, typing.NewType):
            return self._schema(hint.__supertype__)
        if isinstance(hint, TypeVar):
            return self._schema(hint.__bound__ if hint.__bound__ is not None else hint.__constraints__ or Any)
        cls = origin or hint
        if not isinstance(cls, type):
            return {"x-python": type_text(hint)}
        if cls in _FORMATS:
            return dict(_FORMATS[cls])
        if issubclass(cls, PurePath):
            return {"type": "string", "format": "path"}
        return self._class(cls, hint)

    def _class(self, cls: type, hint: Any) -> dict[str, Any]:
        if cls in self._names:
            return _reference(self._names[cls])
        describe = self._describer(cls)
        if describe is None:
            return {"x-python": type_text(hint)}
        name = _unused(re.sub(r"[^\w.-]", "_", class_name(cls)), self._defined)
        self._names[cls] = name
        self._defined[name] = {}  # so that a class that refers to itself comes to an end
        try:
            said = describe(cls, name)
        except Exception:  # noqa: BLE001 - the class's own code, or annotations that don't resolve
            said = {}
        self._defined[name] = {"title": cls.__name__, **said, "x-python": class_name(cls)}
        return _reference(name)

    def _describer(self, cls: type) -> Any:
        if hasattr(cls, "model_json_schema"):
            return self._pydantic
        if hasattr(cls, "__struct_fields__"):
            return self._msgspec
        if is_dataclass(cls):
            return self._dataclass
        return self._typed_dict if typing.is_typeddict(cls) else None

    def _pydantic(self, cls: Any, name: str) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they would quote defaults
            made: dict[str, Any] = cls.model_json_schema(
                ref_template=f"#/types/{name}:{{model}}", mode="serialization"
            )
        return self._with_parts(name, made, made.pop("$defs", {}))

    def _msgspec(self, cls: type, name: str) -> dict[str, Any]:
        import msgspec

        template = f"#/types/{name}:{{name}}"
        (made,), parts = msgspec.json.schema_components([cls], ref_template=template)
        return self._with_parts(name, made, parts)

    def _with_parts(self, name: str, made: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
        for part, said in parts.items():
            self._defined[f"{name}:{part}"] = said
        return made

    def _dataclass(self, cls: Any, name: str) -> dict[str, Any]:
        del name
        hints = typing.get_type_hints(cls, include_extras=True)
        named = {each.name: hints[each.name] for each in fields(cls)}
        return self._object(named, set(named))

    def _typed_dict(self, cls: Any, name: str) -> dict[str, Any]:
        del name
        hints = typing.get_type_hints(cls, include_extras=True)
        return self._object(hints, required_keys(cls, hints))

    def _object(self, hints: dict[str, Any], required: set[str]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {key: self._schema(hint) for key, hint in hints.items()},
            "required": [key for key in hints if key in required],
            "additionalProperties": False,
        }


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/types/{name}"}


def _unused(name: str, taken: dict[str, Any]) -> str:
    """Return a name that is free; two classes may be called the same."""
    n, free = 1, name
    while free in taken:
        n += 1
        free = f"{name}_{n}"
    return free


def _as_json(value: Any, *, names: bool = False) -> Any:
    """Return a schema with JSON values only, and without those of the user's.

    Args:
        value: Of the schema, or of what is in it.
        names: Its keys are names of the user's, and no keywords.
    """
    if isinstance(value, dict):
        return {
            str(key): _as_json(each, names=not names and key in _NAMED)
            for key, each in value.items()
            if names or key not in _VALUES
        }
    if isinstance(value, (list, tuple)):
        return [_as_json(each) for each in value]
    if isinstance(value, Enum):
        return _as_json(value.value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, NoneType)) else class_name(type(value))
