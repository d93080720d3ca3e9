"""The source of functions: found, parsed, and its names resolved to what they mean, without running anything.

Whatever can't be read (typed at a prompt, made by ``exec``, compiled, changed since it was imported) is ``None`` here,
and never an error: sources are other people's, and may be anything.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import io
import linecache
import os
import stat
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from meridian.core.function import NodeFunction
from meridian.lint.model import Spot

MOST_BYTES: Final = 4_000_000
"""Largest file that is read."""

MISSING: Final = object()
"""What a name stands for that can't be resolved."""

Def = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Module:
    """One file of source.

    Attributes:
        file: Its name, as its code knows it.
        lines: Its lines, with their ends.
        tree: What it says.
        walked: What each of its functions does itself, once somebody asked.
    """

    file: str
    lines: list[str]
    tree: ast.Module
    walked: dict[ast.AST, list[ast.AST]] = field(default_factory=dict[ast.AST, list[ast.AST]])

    def comments(self) -> Iterator[tuple[int, str]]:
        """Yield each comment with its line; what looks like one within a text isn't."""
        try:
            for token in tokenize.generate_tokens(io.StringIO("".join(self.lines)).readline):
                if token.type == tokenize.COMMENT:
                    yield token.start[0], token.string
        except (tokenize.TokenError, SyntaxError):
            return


class Sources:
    """The files that were read so far."""

    def __init__(self) -> None:
        self.modules: dict[str, Module | None] = {}
        self._definitions: dict[CodeType, tuple[Module, Def] | None] = {}

    def file(self, name: str, names: dict[str, Any] | None = None) -> Module | None:
        """Return a file; ``names`` are the global ones of its code, which may know where it comes from."""
        if name not in self.modules:
            self.modules[name] = _read(name, names or {})
        return self.modules[name]

    def definition(self, function: FunctionType) -> tuple[Module, Def] | None:
        """Return where a function is defined; ``None`` where that can't be told for sure."""
        code = function.__code__
        if code not in self._definitions:
            module = self.file(code.co_filename, function.__globals__)
            self._definitions[code] = None if module is None else _find(module, code)
        return self._definitions[code]


def _find(module: Module, code: CodeType) -> tuple[Module, Def] | None:
    found: list[Def] = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Lambda):
            fits = code.co_name == "<lambda>" and node.lineno == code.co_firstlineno
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            fits = code.co_name == node.name and first == code.co_firstlineno
        else:
            continue
        if fits and _parameters(node) == code.co_varnames[: len(_parameters(node))]:
            found.append(node)
    return (module, found[0]) if len(found) == 1 else None


def _parameters(node: Def) -> tuple[str, ...]:
    args = node.args
    return tuple(each.arg for each in (*args.posonlyargs, *args.args, *args.kwonlyargs))


def _read(file: str, names: dict[str, Any]) -> Module | None:
    try:
        try:
            facts = os.stat(file)
        except (OSError, ValueError):  # a cell, a zip file: whoever made it may have told linecache
            lines = linecache.getlines(file, names)
        else:
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > MOST_BYTES:
                return None
            with tokenize.open(file) as stream:
                lines = stream.readlines()
        return Module(file, lines, ast.parse("".join(lines))) if lines else None
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def function_of(thing: Any) -> FunctionType | None:
    """Return the Python function that calling ``thing`` runs; ``None`` for builtins and classes."""
    for _ in range(16):  # wrappers may lead in a circle
        if type(thing) is FunctionType:
            wrapped = vars(thing).get("__wrapped__")
            if wrapped is None:
                return thing
            thing = wrapped
        elif type(thing) in (MethodType, staticmethod, classmethod):
            thing = thing.__func__
        elif isinstance(thing, functools.partial):
            thing = thing.func
        elif isinstance(thing, NodeFunction):
            thing = thing.fn
        elif isinstance(thing, type) or type(thing) is BuiltinFunctionType:
            return None
        else:
            thing = inspect.getattr_static(type(thing), "__call__", None)
            if thing is None:
                return None
    return None


def own(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Walk statements, or the expression of a lambda, without what functions and classes defined there do."""
    todo = list(reversed(body))
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, _NESTED):
            todo.extend(reversed(list(ast.iter_child_nodes(node))))


def is_none(value: ast.expr | None) -> bool:
    """Say whether what a function returns is ``None``, written or not."""
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


@dataclass(slots=True)
class Code:
    """A function with its source, and with what its names mean.

    Attributes:
        function: The function.
        module: The file it stands in.
        tree: Its definition there.
        owner: The object that ``self`` is, where it is a method of a node.
    """

    function: Any  # a FunctionType; declared as one, checkers would take it for a method of this class
    module: Module
    tree: Def
    owner: Any = None
    _imported: dict[str, str] | None = field(default=None, repr=False)
    _parents: dict[ast.AST, ast.AST] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Name of the function."""
        return str(self.function.__name__)

    @property
    def is_async(self) -> bool:
        """Whether it is ``async def``."""
        return isinstance(self.tree, ast.AsyncFunctionDef)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of its parameters."""
        return _parameters(self.tree)

    @property
    def first_line(self) -> int:
        """Line on which it begins, its decorators included."""
        return int(self.function.__code__.co_firstlineno)

    def spot(self, node: ast.AST | None = None) -> Spot:
        """Return where something in it stands; without anything, where it begins."""
        if node is None:
            return Spot(self.module.file, self.first_line, self.tree.lineno)
        line = getattr(node, "lineno", self.first_line)
        return Spot(self.module.file, line, getattr(node, "end_lineno", None) or line)

    def own(self) -> list[ast.AST]:
        """Return what it does itself, walked once for all nodes that run it."""
        walked = self.module.walked.get(self.tree)
        if walked is None:
            body = [self.tree.body] if isinstance(self.tree, ast.Lambda) else self.tree.body
            walked = self.module.walked[self.tree] = list(own(body))
        return walked

    def calls(self) -> Iterator[ast.Call]:
        """Yield the calls that it makes itself."""
        return (node for node in self.own() if isinstance(node, ast.Call))

    def parent(self, node: ast.AST) -> ast.AST | None:
        """Return what a node of its tree stands in."""
        if self._parents is None:
            self._parents = {
                child: each for each in ast.walk(self.tree) for child in ast.iter_child_nodes(each)
            }
        return self._parents.get(node)

    def names(self, node: ast.expr) -> set[str]:
        """Return the dotted names that an expression may be known by, such as ``time.sleep``.

        Aliases are resolved: by what the name stands for in the running program, or by an import within the function.
        For a method of an object that is there already, such as a lock, these are its names in each of its classes.
        """
        text = self._dotted(node)
        found = {text} if text else set[str]()
        value = self.value(node)
        if value is not MISSING:
            found |= _names_of(value)
        if isinstance(node, ast.Attribute):
            owner = self.value(node.value)
            if owner is not MISSING and not isinstance(owner, (ModuleType, type)):
                found |= {
                    f"{each.__module__}.{each.__qualname__}.{node.attr}" for each in type(owner).__mro__
                }
        return found

    def value(self, node: ast.expr) -> Any:
        """Return what an expression stands for, if that can be seen without running anything; else `MISSING`."""
        if isinstance(node, ast.Name):
            return self._global(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.value(node.value)
            if owner is MISSING:
                return MISSING
            if isinstance(owner, ModuleType):
                return vars(owner).get(node.attr, MISSING)
            return inspect.getattr_static(owner, node.attr, MISSING)
        return MISSING

    def _global(self, name: str) -> Any:
        function, code = self.function, self.function.__code__
        if name in code.co_freevars and function.__closure__ is not None:
            try:
                return function.__closure__[code.co_freevars.index(name)].cell_contents
            except ValueError:  # not assigned yet
                return MISSING
        if name in code.co_varnames or name in code.co_cellvars:
            is_self = self.owner is not None and self.parameters[:1] == (name,)
            return self.owner if is_self else MISSING
        return function.__globals__.get(name, getattr(builtins, name, MISSING))

    def _dotted(self, node: ast.expr) -> str | None:
        """Return the text of a dotted name that begins with an import within the function."""
        if self._imported is None:
            self._imported = dict(_imports(self.own()))
        if isinstance(node, ast.Name):
            return self._imported.get(node.id)
        if isinstance(node, ast.Attribute):
            inner = self._dotted(node.value)
            if inner is None and isinstance(node.value, ast.Name):
                module = self._global(node.value.id)
                inner = module.__name__ if isinstance(module, ModuleType) else None
            return None if inner is None else f"{inner}.{node.attr}"
        return None


def _imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _names_of(value: Any) -> set[str]:
    if isinstance(value, (FunctionType, BuiltinFunctionType, type)):
        return {f"{value.__module__}.{value.__qualname__}".removeprefix("builtins.")}
    return set()
