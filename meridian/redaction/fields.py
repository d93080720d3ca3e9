"""Fields of declared classes: where their values are stored, and how they were classified.

Values are read from where Python keeps them, never through attribute access, which a class may answer with code of its
own. What annotations say is resolved once per class. Where they can't be resolved, a field that may have been classified
counts as secret.
"""

from __future__ import annotations

import types
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any, cast, get_type_hints
from weakref import WeakKeyDictionary

from meridian.redaction.vocabulary import Classification

if TYPE_CHECKING:
    from collections.abc import Mapping

Field = tuple[object, object, Classification | None]

_MRO: Any = type.__dict__["__mro__"]
_DICT: Any = type.__dict__["__dict__"]
_MARKS = ("__dataclass_fields__", "__pydantic_fields__")


class FieldReader:
    """Reads objects field by field; knows the classes it has seen."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[type, dict[str, Classification | None]] = WeakKeyDictionary()

    def has_fields(self, cls: type) -> bool:
        """Return whether the class declares its fields: a dataclass, or a model of pydantic's."""
        return any(_declared(cls, mark) is not None for mark in _MARKS)

    def is_named_tuple(self, cls: type) -> bool:
        """Return whether the class is a named tuple."""
        return cls is not tuple and isinstance(_declared(cls, "_fields"), tuple)

    def read(self, value: object) -> list[Field]:
        """Return name, value and classification of each field, in the order of declaration."""
        kept = self.stored(value)
        return [(name, kept[name], said) for name, said in self._fields(type(value)).items() if name in kept]

    def read_named_tuple(self, value: tuple[object, ...]) -> list[Field]:
        """Return the same of a named tuple."""
        cls = type(value)
        names = cast("tuple[object, ...]", _declared(cls, "_fields"))
        said = self._fields(cls)
        return [
            (name, each, said.get(name) if isinstance(name, str) else None)
            for name, each in zip(names, tuple.__iter__(value), strict=False)
        ]

    def stored(self, value: object) -> dict[str, object]:
        """Return the attributes an object keeps, in its dict or its slots."""
        kept: dict[str, object] = {}
        for cls in cast("tuple[type, ...]", _MRO.__get__(type(value))):
            for name, slot in dict(_DICT.__get__(cls)).items():
                if type(slot) is types.MemberDescriptorType:
                    try:
                        kept[name] = slot.__get__(value)
                    except AttributeError:  # not set
                        pass
                elif name == "__dict__" and type(slot) is types.GetSetDescriptorType:
                    kept.update(slot.__get__(value))
        return kept

    def _fields(self, cls: type) -> Mapping[str, Classification | None]:
        known = self._known.get(cls)
        if known is None:
            known = self._known[cls] = _classified(cls)
        return known


def _declared(cls: type, name: str) -> object:
    for base in cast("tuple[type, ...]", _MRO.__get__(cls)):
        found = _DICT.__get__(base).get(name)
        if found is not None:
            return found
    return None


def _classified(cls: type) -> dict[str, Classification | None]:
    annotated: dict[str, object] = {}
    for base in reversed(cast("tuple[type, ...]", _MRO.__get__(cls))):
        annotated.update(_DICT.__get__(base).get("__annotations__") or {})
    fields: Any = _declared(cls, "__dataclass_fields__") or {}
    for name, declared in dict(fields).items():
        annotated.setdefault(name, declared.type)
    try:
        hints: dict[str, object] = get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001  # annotations are code, and may name what isn't there
        hints = {}
    said: dict[str, Classification | None] = {}
    for name in annotated.keys() | hints.keys():
        said[name] = _from_annotation(hints.get(name, annotated.get(name)))
    for name, declared in dict(fields).items():
        word = declared.metadata.get("classification", MISSING)
        if word is not MISSING:
            said[name] = _classification(word)
    order = [*fields, *annotated]
    return {name: said[name] for name in dict.fromkeys([*order, *sorted(said)])}


def _from_annotation(annotation: object) -> Classification | None:
    if isinstance(annotation, str):  # it couldn't be resolved
        return Classification.SECRET if "Annotated[" in annotation else None
    for each in getattr(annotation, "__metadata__", ()):
        if isinstance(each, Classification):
            return each
    return None


def _classification(word: object) -> Classification:
    try:
        return Classification(word)
    except ValueError:
        return Classification.SECRET  # whoever misspelt it meant something
