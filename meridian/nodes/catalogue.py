"""What nodes there are: their parameters, ports and examples, read from the code itself.

For tools: completion, editors, generators of configuration, pages. Nothing is declared twice; signatures, annotations and
docstrings are the source, and a test holds that they say what they should.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import typing
from base64 import b64encode
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, get_origin

from meridian import nodes
from meridian.core.json_schema import DIALECT, json_schema
from meridian.core.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

__all__ = ["NodeEntry", "Parameter", "catalogue", "find", "schema", "schemas", "search"]

REFERENCE: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$",
}
"""What stands for a Python object where there are only JSON values: ``module:attribute``."""

_FIXED_PORTS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "AsyncMap": (("input",), ("output",)),
    "Batch": (("input",), ("output",)),
    "Debounce": (("input",), ("output",)),
    "Join": ((), ("output",)),
    "from_async_iterable": ((), ("output",)),
}
"""Inputs and outputs that no parameter names; a test makes each node and compares."""

_NOT_LISTED: Final = {"meridian.nodes.base", "meridian.testing.harness"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a node's constructor.

    Attributes:
        name: Its name.
        type: Its annotation, as in the source.
        schema: JSON Schema of its values; what JSON can't express is a reference ``module:attribute``, bytes are base64.
        required: It has no default.
        default: As a JSON value; ``None`` for a required one.
        keyword_only: It can't be given by position.
        description: What its class says about it.
    """

    name: str
    type: str
    schema: Mapping[str, Any]
    required: bool
    default: Any
    keyword_only: bool
    description: str


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """One node.

    Attributes:
        name: Of the class, or of the function that makes it; to be imported from ``meridian.nodes``.
        module: The module that has it.
        category: Last part of the module's name.
        purpose: What the nodes of this category have in common.
        summary: What it does, in a line.
        description: What else there is to know.
        parameters: In the order of the signature.
        inputs: Names of inputs by default; ``"{name}"`` stands for every name that the parameter called so lists.
        outputs: The same for outputs.
        raises: What its constructor raises, by name of the class.
        example: A program that uses it.
    """

    name: str
    module: str
    category: str
    purpose: str
    summary: str
    description: str
    parameters: tuple[Parameter, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    raises: Mapping[str, str]
    example: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dataclasses.asdict(self)


@cache
def catalogue() -> tuple[NodeEntry, ...]:
    """Return all nodes, by module and name.

    Cost: imports every module of the library the first time, about 100 ms.
    """
    return tuple(
        _entry(home, name, value)
        for home, names in nodes.HOMES.items()
        if home not in _NOT_LISTED
        for name in names
        if _is_node(value := getattr(nodes, name))
    )


def find(name: str) -> NodeEntry:
    """Return the node of this name; capitals don't matter.

    Raises:
        KeyError: there is none; says which ones are called similarly.
    """
    by_name = {entry.name.lower(): entry for entry in catalogue()}
    found = by_name.get(name.lower())
    if found is None:
        near = [by_name[each].name for each in get_close_matches(name.lower(), by_name, n=3)]
        hint = f": did you mean {' or '.join(near)}?" if near else ""
        raise KeyError(f"there is no node {name!r}{hint}")
    return found


def search(words: str) -> tuple[NodeEntry, ...]:
    """Return the nodes whose name, category, purpose or description has all of these words, or begins of them.

    Those come first for which the name is enough, then the summary, the category, the description; capitals don't matter.
    """
    wanted = [re.compile(rf"(?<![a-z]){re.escape(word)}") for word in words.lower().split()]

    def rank(entry: NodeEntry) -> int | None:
        # The words of a name count one by one, too: CircuitBreakerNode has "breaker".
        text = entry.name + re.sub(r"(?=[A-Z])", " ", entry.name)
        further = (entry.summary, f"{entry.category.replace('_', ' ')} {entry.purpose}", entry.description)
        for i, more in enumerate(("", *further)):
            text += f" {more}"
            if all(pattern.search(text.lower()) for pattern in wanted):
                return i
        return None

    ranked = [(rank(entry), entry) for entry in catalogue()]
    return tuple(entry for i in range(4) for n, entry in ranked if n == i)


def schema(entry: NodeEntry) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an object with the node's parameters.

    Beside each parameter ``x-python`` gives its annotation.
    """
    return {"$schema": DIALECT, **_object(entry)}


def schemas() -> dict[str, Any]:
    """Return one JSON Schema with the parameters of every node under ``$defs``."""
    return {"$schema": DIALECT, "$defs": {entry.name: _object(entry) for entry in catalogue()}}


def _object(entry: NodeEntry) -> dict[str, Any]:
    return {
        "title": entry.name,
        "description": entry.summary,
        "type": "object",
        "properties": {each.name: _property(each) for each in entry.parameters},
        "required": [each.name for each in entry.parameters if each.required],
        "additionalProperties": False,
    }


def _property(parameter: Parameter) -> dict[str, Any]:
    made = {**parameter.schema, "description": parameter.description, "x-python": parameter.type}
    if not parameter.required:
        made["default"] = parameter.default
    return made


# ---- from signatures and docstrings --------------------------------------------------------------------------------


def _is_node(value: Any) -> bool:
    if isinstance(value, type):
        return issubclass(value, Node)
    return inspect.isfunction(value)


def _entry(home: str, name: str, value: Any) -> NodeEntry:
    told = _Docstring(inspect.getdoc(value) or "")
    about = told.entries("Args")
    function: Any = value
    hints = _hints(function.__init__ if isinstance(value, type) else function)
    parameters = tuple(
        Parameter(
            name=each.name,
            type=each.annotation if isinstance(each.annotation, str) else inspect.formatannotation(each.annotation),
            schema=_json_schema(hints.get(each.name, Any)),
            required=each.default is each.empty,
            default=None if each.default is each.empty else _json_value(each.default),
            keyword_only=each.kind is each.KEYWORD_ONLY,
            description=about.get(each.name, ""),
        )
        for each in inspect.signature(value).parameters.values()
    )  # fmt: skip
    inputs, outputs = _ports(name, parameters)
    return NodeEntry(
        name=name,
        module=home,
        category=home.rpartition(".")[2],
        purpose=_first_sentence(inspect.getdoc(import_module(home)) or ""),
        summary=told.summary,
        description=told.description,
        parameters=parameters,
        inputs=inputs,
        outputs=outputs,
        raises=told.entries("Raises"),
        example=told.example,
    )


def _first_sentence(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


def _ports(name: str, parameters: Iterable[Parameter]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    inputs, outputs = (list(side) for side in _FIXED_PORTS.get(name, ((), ())))
    for each in parameters:
        side = inputs if each.name.startswith("input") else outputs
        if each.name.endswith("_port") and isinstance(each.default, str):
            side.append(each.default)
        elif each.name in ("inputs", "input_ports", "output_ports"):
            side.append(f"{{{each.name}}}")
    return tuple(inputs), tuple(outputs)


class _Docstring:
    """A docstring in Google style, taken apart."""

    _HEAD = re.compile(r"^(Args|Attributes|Raises|Returns|Yields|Example|Examples):\s*$")
    _ENTRY = re.compile(r"^ {4}(\*{0,2}[\w., ]+?)(?: \([^)]*\))?:\s*(.*)$")

    def __init__(self, text: str) -> None:
        first, _, rest = text.partition("\n\n")
        self.summary = " ".join(first.split())
        prose: list[str] = []
        self._sections: dict[str, list[str]] = {}
        lines = prose
        for line in rest.splitlines():
            head = self._HEAD.match(line)
            if head is not None:
                lines = self._sections.setdefault(head[1], [])
            elif line and not line.startswith(" ") and lines is not prose:
                lines = prose  # text after a section, such as a line about cost
                lines.extend(("", line))
            else:
                lines.append(line)
        self.description = re.sub(r"\n{3,}", "\n\n", "\n".join(prose)).strip()

    def entries(self, section: str) -> dict[str, str]:
        """Return the description of each name in a section."""
        found: dict[str, list[str]] = {}
        current: list[str] = []
        for line in self._sections.get(section, ()):
            entry = self._ENTRY.match(line)
            if entry is not None:
                current = found.setdefault(entry[1].lstrip("*"), [])
                current.append(entry[2])
            elif line.strip():
                current.append(line.strip())
        return {name: " ".join(" ".join(lines).split()) for name, lines in found.items()}

    @property
    def example(self) -> str:
        """The first block of Python in it."""
        text = inspect.cleandoc("\n".join(self._sections.get("Example", ())))
        block = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        return block[1] if block else ""


# ---- from annotations ----------------------------------------------------------------------------------------------


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function, including those whose names are only imported for type checkers."""
    module = inspect.getmodule(function)
    return typing.get_type_hints(function, localns={} if module is None else dict(_for_type_checkers(module)))


@cache
def _for_type_checkers(module: ModuleType) -> Mapping[str, Any]:
    """Import what a module imports under ``if TYPE_CHECKING:``."""
    found: dict[str, Any] = {}
    for statement in ast.parse(inspect.getsource(module)).body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            for each in statement.body:
                if isinstance(each, ast.ImportFrom) and each.module is not None:
                    source = import_module(each.module)
                    found |= {alias.asname or alias.name: getattr(source, alias.name) for alias in each.names}
    return found


def _json_schema(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of an annotation."""
    return json_schema(hint, _object_schema)


def _object_schema(hint: Any) -> dict[str, Any]:
    cls = get_origin(hint) or hint
    if isinstance(cls, type):
        if hasattr(cls, "__fspath__"):
            return {"type": "string"}
        if dataclasses.is_dataclass(cls):
            return _dataclass_schema(cls)
    return dict(REFERENCE)  # a function, an iterable, an object


def _dataclass_schema(cls: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, localns=dict(_for_type_checkers(import_module(cls.__module__))))
    about = _Docstring(inspect.getdoc(cls) or "").entries("Attributes")
    properties: dict[str, Any] = {}
    required: list[str] = []
    for each in dataclasses.fields(cls):
        made = properties[each.name] = _json_schema(hints[each.name])
        if each.name in about:
            made["description"] = about[each.name]
        if each.default is not dataclasses.MISSING:
            made["default"] = _json_value(each.default)
        elif each.default_factory is not dataclasses.MISSING:
            made["default"] = _json_value(each.default_factory())
        else:
            required.append(each.name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _json_value(value: Any) -> Any:
    """Return a default as a JSON value."""
    match value:
        case Enum():
            return value.value
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            return b64encode(value).decode()
        case list() | tuple():
            return [_json_value(each) for each in value]
        case dict():
            return {str(key): _json_value(each) for key, each in value.items()}
        case _ if dataclasses.is_dataclass(value):
            return {each.name: _json_value(getattr(value, each.name)) for each in dataclasses.fields(value)}
        case _:
            return repr(value)
