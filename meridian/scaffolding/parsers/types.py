"""Types of ports: which names a type uses, where they come from, and whether it is a schema at all.

A type is read, never evaluated as code: names, dotted names, parameters in brackets, ``|`` and literals. Modules of the
standard library are looked into; those of others are only looked for, since importing them would run them.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, Final

from meridian.core.schema import SchemaError, compile_schema

_MODULES: Final[dict[str, str]] = {
    "collections": "ChainMap Counter OrderedDict defaultdict deque",
    "collections.abc": (
        "AsyncGenerator AsyncIterable AsyncIterator Awaitable Callable Collection Container Coroutine Generator Hashable "
        "Iterable Iterator Mapping MutableMapping MutableSequence MutableSet Reversible Sequence Sized"
    ),
    "datetime": "date datetime time timedelta timezone tzinfo",
    "decimal": "Decimal",
    "enum": "Enum Flag IntEnum IntFlag StrEnum",
    "fractions": "Fraction",
    "ipaddress": "IPv4Address IPv4Network IPv6Address IPv6Network",
    "meridian.core.message": "Message MessageType",
    "numbers": "Number",
    "pathlib": "Path PurePath PurePosixPath PureWindowsPath",
    "re": "Match Pattern",
    "types": "MappingProxyType SimpleNamespace",
    "typing": "Any Dict FrozenSet List Literal Optional Set Tuple Type Union",
    "uuid": "UUID",
}
"""Names that need no module before them; of two modules that have one name, the one to import it from."""

_HOME: Final = {name: module for module, names in _MODULES.items() for name in names.split()}


@dataclass
class PortTypes:
    """The types of a node's ports.

    Attributes:
        texts: Each type as source text, by the text that was given.
        names: What to import from where: module to names.
        modules: Modules to import as a whole.
        values: Each type itself, by the text that was given; `Any` stands for what is not of the standard library.
    """

    texts: dict[str, str] = field(default_factory=dict[str, str])
    names: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    modules: set[str] = field(default_factory=set[str])
    values: dict[str, Any] = field(default_factory=dict[str, Any])

    def taken(self) -> set[str]:
        """Return the names that these imports bind."""
        return {name for names in self.names.values() for name in names} | {
            module.partition(".")[0] for module in self.modules
        }


def resolve_types(ports: Mapping[str, str], search: Iterable[str] = ()) -> PortTypes:
    """Find out what the types of ports mean.

    Args:
        ports: Type by name of port, as `parse_ports` returns them.
        search: Folders that modules may stand in, besides those on ``sys.path``.

    Raises:
        ValueError: a type is no type, means nothing as a schema, or uses a name that isn't known.
    """
    found = PortTypes()
    path = [*search, *sys.path]
    for port, text in ports.items():
        try:
            _Reader(found, path).read(text)
        except ValueError as error:
            raise ValueError(f"port {port!r}: {error}") from None
    whole = {module.partition(".")[0] for module in found.modules}
    for module, names in found.names.items():
        for name in sorted(names & whole):
            raise ValueError(
                f"the types use {name!r} from {module} and a module {name!r} as well: write '{module}.{name}' for both"
            )
    return found


class _Reader:
    """Reads one type."""

    def __init__(self, found: PortTypes, path: Sequence[str]) -> None:
        self._found = found
        self._path = path

    def read(self, text: str) -> None:
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ValueError(f"{text!r} is not a type: write one as in an annotation") from None
        try:
            value = self._value(tree.body)
            compile_schema(value)
        except SchemaError as error:
            raise ValueError(str(error)) from None
        except (TypeError, RecursionError) as error:  # int[str], say
            raise ValueError(f"{text!r} is not a type: {error}") from None
        # What was written stays as it is, unless it has line breaks or comments.
        plain = text.isprintable() and "#" not in text
        self._found.texts[text] = text if plain else ast.unparse(tree)
        self._found.values[text] = value

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=str() | int() | bytes() | None | builtins.Ellipsis):
                return node.value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)):
                return -number
            case ast.Name(id=name):
                return self._named(name)
            case ast.Attribute():
                return self._dotted(node)
            case ast.Subscript():
                return self._value(node.value)[self._value(node.slice)]
            case ast.BinOp(op=ast.BitOr()):
                return self._value(node.left) | self._value(node.right)
            case ast.Tuple():
                return tuple(self._value(each) for each in node.elts)
            case ast.List():
                return [self._value(each) for each in node.elts]
            case _:
                raise ValueError(
                    f"{ast.unparse(node)!r} is not a type: use names, brackets, | and literals only"
                )

    def _named(self, name: str) -> Any:
        if isinstance(value := getattr(builtins, name, None), type):
            return value
        module = _HOME.get(name)
        if module is None:
            raise ValueError(
                f"unknown type {name!r}: use a builtin type, a name of typing or collections.abc, or a dotted path "
                f"such as 'my_app.models.{name}'"
            )
        self._found.names.setdefault(module, set()).add(name)
        return getattr(import_module(module), name)

    def _dotted(self, node: ast.Attribute) -> Any:
        path = ast.unparse(node)
        parts = path.split(".")
        if not all(part.isidentifier() for part in parts):
            raise ValueError(f"{path!r} is not a type: use a dotted path such as 'my_app.models.Order'")
        if parts[0] in sys.stdlib_module_names:
            return self._of_the_standard_library(parts)
        if PathFinder.find_spec(parts[0], list(self._path)) is None:
            raise ValueError(f"unknown type {path!r}: there is no module {parts[0]!r}")
        self._found.modules.add(".".join(parts[:-1]))
        return Any

    def _of_the_standard_library(self, parts: list[str]) -> Any:
        value: Any = None
        used = parts[0]
        for i, part in enumerate(parts, 1):
            path = ".".join(parts[:i])
            try:
                value = getattr(value, part) if i > 1 and hasattr(value, part) else import_module(path)
            except ImportError:
                raise ValueError(f"unknown type {'.'.join(parts)!r}: there is no {path!r}") from None
            if isinstance(value, ModuleType):
                used = path
        self._found.modules.add(used)
        return value
