"""What a port's schema means: from an annotation to a check.

A schema is whatever a user would write as an annotation. It is compiled once into a `Check`. Whether a value passes most
often depends on its class alone; then ``by_type`` is true and an edge needs to look at each class only once.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin


class Check(NamedTuple):
    """A compiled schema.

    Attributes:
        passes: ``passes(value)`` says whether the value fits.
        by_type: The answer is the same for all values of one class.
    """

    passes: Callable[[Any], bool]
    by_type: bool


class SchemaError(TypeError):
    """This can't be used as a schema; says why."""


def compile_schema(schema: Any) -> Check | None:
    """Compile ``schema``; ``None`` means that everything passes.

    Args:
        schema: A class, a tuple or union of schemas, ``Any``, a parameterised generic (its elements are checked too,
            at O(n)), a TypedDict, a ``Literal``, an ``Annotated``, a NewType or a TypeVar.

    Raises:
        SchemaError: it is none of these.
    """
    try:
        return _compile(schema)
    except TypeError as error:
        if isinstance(error, SchemaError):
            raise
        return _compile.__wrapped__(schema)  # not hashable: compiled anew each time


@lru_cache(maxsize=1024)
def _compile(schema: Any) -> Check | None:
    if schema is None or schema is Any or schema is object:
        return None
    if isinstance(schema, (tuple, list)):
        return _any_of(schema)
    if isinstance(schema, str):
        raise SchemaError(
            f"schema {schema!r} is a string: pass the type itself (annotations are resolved by @node)"
        )
    if schema is type(None):
        return Check(lambda value: value is None, True)
    if isinstance(schema, TypeVar):
        return compile_schema(
            schema.__bound__ if schema.__bound__ is not None else schema.__constraints__ or None
        )
    if typing.is_typeddict(schema):
        return _typed_dict(schema)
    if isinstance(schema, typing.NewType):
        return compile_schema(schema.__supertype__)
    origin = get_origin(schema)
    if origin is not None:
        return _generic(schema, origin, get_args(schema))
    if isinstance(schema, type):
        return _class(schema)
    raise SchemaError(
        f"{schema!r} can't be used as a schema: use a type, a union of types, or None for anything"
    )


def _class(schema: type) -> Check:
    if getattr(schema, "_is_protocol", False) and not getattr(schema, "_is_runtime_protocol", False):
        raise SchemaError(
            f"protocol {schema.__name__} can't be checked: decorate it with typing.runtime_checkable"
        )

    def passes(value: Any) -> bool:
        return isinstance(value, schema)

    return Check(passes, not getattr(schema, "_is_protocol", False))


def _any_of(options: Iterable[Any]) -> Check | None:
    checks = [compile_schema(option if option is not None else type(None)) for option in options]
    if not checks:
        raise SchemaError("an empty tuple is no schema: nothing could ever pass")
    known = [check for check in checks if check is not None]
    if len(known) < len(checks):
        return None

    def passes(value: Any) -> bool:
        return any(check.passes(value) for check in known)

    return Check(passes, all(check.by_type for check in known))


def _typed_dict(schema: Any) -> Check:
    hints = typing.get_type_hints(schema, include_extras=True)
    checks = {key: check for key, hint in hints.items() if (check := compile_schema(hint)) is not None}
    required = required_keys(schema, hints)

    def passes(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and required <= value.keys() <= hints.keys()
            and all(check.passes(value[key]) for key, check in checks.items() if key in value)
        )

    return Check(passes, False)


def required_keys(schema: Any, hints: Mapping[str, Any]) -> set[str]:
    """Return the keys that a TypedDict must have; ``hints`` are its annotations, extras included."""
    # Under postponed evaluation __required_keys__ has missed what the annotations say themselves.
    said = {key: get_origin(hint) for key, hint in hints.items()}
    return {
        key
        for key, origin in said.items()
        if origin is typing.Required or (key in schema.__required_keys__ and origin is not typing.NotRequired)
    }


def _generic(schema: Any, origin: Any, args: tuple[Any, ...]) -> Check | None:
    if origin is Union or origin is types.UnionType:
        return _any_of(args)
    if origin is typing.Annotated or origin in (
        typing.Required,
        typing.NotRequired,
        typing.Final,
        typing.ClassVar,
    ):
        return compile_schema(args[0])
    if origin is typing.Literal:
        return Check(lambda value: any(value == arg and type(value) is type(arg) for arg in args), False)
    if origin is type:
        return Check(lambda value: isinstance(value, type), False)
    if not isinstance(origin, type):
        raise SchemaError(f"{schema!r} can't be used as a schema")
    if issubclass(origin, tuple):
        return _tuple(origin, args)
    if issubclass(origin, Mapping) and len(args) == 2:
        return _mapping(origin, compile_schema(args[0]), compile_schema(args[1]))
    if issubclass(origin, (Sequence, set, frozenset)) and len(args) == 1:
        return _elements(origin, compile_schema(args[0]))
    # Other generics (a class of the user's, Callable, Iterator): the class is checked, its parameters can't be.
    return _class(origin)


def _elements(origin: Any, inner: Check | None) -> Check:
    if inner is None:
        return _class(origin)
    inner_passes = inner.passes

    def passes(value: Any) -> bool:
        return isinstance(value, origin) and all(inner_passes(element) for element in value)

    return Check(passes, False)


def _mapping(origin: Any, keys: Check | None, values: Check | None) -> Check:
    if keys is None and values is None:
        return _class(origin)

    def passes(value: Any) -> bool:
        return (
            isinstance(value, origin)
            and (keys is None or all(keys.passes(key) for key in value))
            and (values is None or all(values.passes(each) for each in value.values()))
        )

    return Check(passes, False)


def _tuple(origin: Any, args: tuple[Any, ...]) -> Check:
    if len(args) == 2 and args[1] is Ellipsis:
        return _elements(origin, compile_schema(args[0]))
    inner: Final = [compile_schema(arg) for arg in args]

    def passes(value: Any) -> bool:
        return (
            isinstance(value, origin)
            and len(value) == len(inner)
            and all(check is None or check.passes(each) for check, each in zip(inner, value, strict=True))
        )

    return Check(passes, False)


def compatible(source: Any, target: Any) -> bool:
    """Say whether what ``source`` describes may flow into ``target``.

    True unless the two are known not to fit: an untyped end fits everything, and parameters of generics are compared
    only where both sides name them.
    """
    if (
        target is None
        or target is Any
        or target is object
        or source is None
        or source is Any
        or source == target
    ):
        return True
    sources, targets = _options(source), _options(target)
    if Any in targets or object in targets:
        return True
    # A value of a union may be any of its members; all of them have to fit somewhere.
    return all(any(_fits(one, other) for other in targets) for one in sources)


def guaranteed(source: Any, target: Any) -> bool:
    """Say whether every value that ``source`` describes passes ``target``, so that an edge needn't check it."""
    if source is target and source.__class__ is type:
        return True
    if target is None or target is Any or target is object:
        return True
    if source is None or source is Any or source is object:
        return False
    targets = _options(target)
    plain = tuple(
        option for option in targets if isinstance(option, type) and not typing.is_typeddict(option)
    )
    return all(
        one in targets or (isinstance(one, type) and not typing.is_typeddict(one) and issubclass(one, plain))
        for one in _options(source)
    )


def _options(schema: Any) -> tuple[Any, ...]:
    if isinstance(schema, (tuple, list)):
        return tuple(option for part in schema for option in _options(part))
    origin = get_origin(schema)
    if origin is Union or origin is types.UnionType:
        return tuple(option for part in get_args(schema) for option in _options(part))
    if origin is typing.Annotated:
        return _options(get_args(schema)[0])
    return (type(None) if schema is None else schema,)


def _fits(source: Any, target: Any) -> bool:
    if source is Any or source == target:
        return True
    source_class, target_class = _class_of(source), _class_of(target)
    if source_class is None or target_class is None:
        return True
    try:
        if not issubclass(source_class, target_class):
            return False
    except TypeError:
        return True
    source_args, target_args = get_args(source), get_args(target)
    if not source_args or not target_args or len(source_args) != len(target_args):
        return True
    return all(
        compatible(one, other)
        for one, other in zip(source_args, target_args, strict=True)
        if one is not Ellipsis
    )


def _class_of(schema: Any) -> type | None:
    if typing.is_typeddict(schema):
        return dict
    origin = get_origin(schema) or schema
    if origin is typing.Literal:
        return None
    return origin if isinstance(origin, type) else None
