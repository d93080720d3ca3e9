"""From an annotation to the JSON Schema of its values as JSON."""

from __future__ import annotations

import collections.abc
from enum import Enum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
"""The version of JSON Schema that is meant everywhere."""

_SIMPLE: Final[dict[Any, Mapping[str, Any]]] = {
    Any: {},
    object: {},
    NoneType: {"type": "null"},
    None: {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "contentEncoding": "base64"},
}

_SEQUENCES: Final = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Collection)
_MAPPINGS: Final = (dict, collections.abc.Mapping)


def json_schema(hint: Any, other: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON Schema of an annotation.

    Args:
        hint: Simple types, containers, unions, literals and enumerations are known here.
        other: Answers for whatever else there is, also within containers and unions.
    """
    if isinstance(hint, collections.abc.Hashable) and hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any_of(json_schema(each, other) for each in args)
    if origin is Literal:
        return {"enum": list(args)}
    if origin is tuple and args and args[-1] is not Ellipsis:
        return {"type": "array", "prefixItems": [json_schema(each, other) for each in args], "items": False}
    made_of = origin or hint
    if made_of in _SEQUENCES:
        return {"type": "array", **({"items": json_schema(args[0], other)} if args else {})}
    if made_of in _MAPPINGS:
        return {"type": "object", **({"additionalProperties": json_schema(args[1], other)} if args else {})}
    if isinstance(made_of, type) and issubclass(made_of, Enum):
        return {"enum": [member.value for member in made_of]}
    return other(hint)


def any_of(options: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of what fits one of several; each is named once."""
    different: list[dict[str, Any]] = []
    for each in options:
        if each not in different:
            different.append(each)
    return different[0] if len(different) == 1 else {"anyOf": different}
