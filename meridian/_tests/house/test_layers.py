"""Imports point down.

The layers, bottom first. A module belongs to the entry with the longest matching name; it may import its own layer and
those below. What is only imported for the type checkers (`if TYPE_CHECKING:`) is exempt; an import inside a
function is not: it moves the moment, not the dependency.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "bottom",
        (
            "meridian.core.clock",
            "meridian.core.errors",
            "meridian.core.issues",
            "meridian.core.json_schema",
            "meridian.core.message",
            "meridian.core.policies",
            "meridian.core.ports",
            "meridian.core.schema",
            "meridian.observability",
            "meridian.redaction",
            "meridian.utils",
        ),
    ),
    ("engine", ("meridian.engine",)),
    (
        "graph",
        (
            "meridian.core.edge",
            "meridian.core.function",
            "meridian.core.node",
            "meridian.core.places",
            "meridian.core.subgraph",
            "meridian.core.wiring",
        ),
    ),
    (
        "plan",
        (
            "meridian.runtime.plan",
            "meridian.runtime.validate",
            # v1's names for validation; thin.
            "meridian.utils.validation",
            "meridian.utils.validators",
        ),
    ),
    (
        "scheduler",
        (
            "meridian.core",  # the package itself: a façade over everything above
            "meridian.core.priority_queue",
            "meridian.core.runtime_plan",
            "meridian.core.scheduler",
            "meridian.runtime",
        ),
    ),
    ("introspection", ("meridian.introspect",)),
    ("lint", ("meridian.lint",)),
    ("nodes", ("meridian.nodes", "meridian.testing")),
    ("adapters", ("meridian.observability.adapters",)),
    ("inspect", ("meridian.inspect",)),
    ("operate", ("meridian.__main__", "meridian.cli", "meridian.diagnostics", "meridian.scaffolding")),
    ("the house", ("meridian", "meridian._v1_paths")),
)

# Imports that point up, each with its reason. An entry that no import needs any more fails the test.
EXCEPTIONS: dict[tuple[str, str], str] = {
    (
        "meridian.core.subgraph",
        "meridian.runtime.validate",
    ): "Subgraph.validate() is v1's name; imported when called",
    ("meridian.cli.streams", "meridian"): "the version has one home, and reports name it",
    ("meridian.introspect.taken", "meridian"): "so do snapshots",
    ("meridian.diagnostics.gather", "meridian"): "so do bundles",
    ("meridian.diagnostics.environment", "meridian"): "and what they say of the environment",
    ("meridian.introspect.server", "meridian"): "so does the socket",
    ("meridian.observability.adapters.catalogue", "meridian"): "so do metrics",
    (
        "meridian.core.scheduler",
        "meridian.introspect.server",
    ): "a run opens the socket if somebody asked for it; imported only then",
    (
        "meridian.core.scheduler",
        "meridian.observability.adapters.prometheus",
    ): "and the endpoint of metrics likewise",
    ("meridian.engine.select", "meridian"): "and the extension must have the same",
    (
        "meridian.core.message",
        "meridian.engine.select",
    ): "one module knows of the extension, and it knows nothing of messages",
}

# What the engine may not know: it is driven, it neither waits, nor reads a clock, nor speaks.
FORBIDDEN_IN_ENGINE = {"asyncio", "datetime", "logging"}
ALLOWED_FROM_TIME = {"sleep"}  # sleep(0) hands the interpreter to another thread; it reads no clock

EXACT = {"meridian", "meridian.core"}  # façades: the name itself, not everything below it
RANK = {name: rank for rank, (_, names) in enumerate(LAYERS) for name in names}


def layer_of(module: str) -> int | None:
    """The rank of a module's layer, or None if the table does not know it."""
    if module in RANK:
        return RANK[module]
    parent = module
    while "." in parent:
        parent = parent.rpartition(".")[0]
        if parent in RANK and parent not in EXACT:
            return RANK[parent]
    return None


def modules(root: Path) -> dict[str, Path]:
    found = {}
    for path in sorted((root / "meridian").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if "_tests" in parts:
            continue
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without the bodies of `if TYPE_CHECKING:`."""
    if isinstance(tree, ast.If) and is_type_checking(tree.test):
        children: Iterator[ast.AST] = iter(tree.orelse)
    else:
        children = ast.iter_child_nodes(tree)
    yield tree
    for child in children:
        yield from runtime_nodes(child)


def imports(module: str, source: str, known: set[str], *, package: bool) -> Iterator[tuple[str, int]]:
    """Yield each imported module with its line; `from x import y` counts as x.y where that is a module."""
    for node in runtime_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + (1 if package else 0)]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield (full if full in known else base), node.lineno


def upward(root: Path) -> tuple[list[str], set[tuple[str, str]]]:
    """Every import that points up, as text, and the exceptions that were needed."""
    found = modules(root)
    wrong, used = [], set()
    for module, path in found.items():
        own = layer_of(module)
        for target, line in imports(
            module, path.read_text(encoding="utf-8"), set(found), package=path.name == "__init__.py"
        ):
            if own is None or target.partition(".")[0] != "meridian":
                continue
            other = layer_of(target)
            if other is not None and other > own:
                if (module, target) in EXCEPTIONS:
                    used.add((module, target))
                else:
                    wrong.append(f"{module}:{line} ({LAYERS[own][0]}) imports {target} ({LAYERS[other][0]})")
    return wrong, used


def test_imports_point_down(root: Path):
    wrong, used = upward(root)
    assert wrong == []
    assert set(EXCEPTIONS) - used == set(), "these exceptions are no longer needed"


def test_every_module_is_in_the_table(root: Path):
    assert [module for module in modules(root) if layer_of(module) is None] == []


def engine_trespasses(module: str, source: str, known: set[str], *, package: bool) -> Iterator[str]:
    for target, line in imports(module, source, known, package=package):
        if target.partition(".")[0] in FORBIDDEN_IN_ENGINE:
            yield f"{module}:{line} imports {target}"
    for node in runtime_nodes(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            if node.attr not in ALLOWED_FROM_TIME:
                yield f"{module}:{node.lineno} uses time.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            for alias in node.names:
                if alias.name not in ALLOWED_FROM_TIME:
                    yield f"{module}:{node.lineno} uses time.{alias.name}"


def test_the_engine_knows_no_asyncio_no_clock_no_logging(root: Path):
    found = modules(root)
    wrong = [
        trespass
        for module, path in found.items()
        if module.startswith("meridian.engine")
        for trespass in engine_trespasses(
            module, path.read_text(encoding="utf-8"), set(found), package=path.name == "__init__.py"
        )
    ]
    assert wrong == []


def test_a_clock_in_the_engine_is_seen():
    source = (
        "import asyncio, time\nfrom time import monotonic, sleep\ntime.sleep(0)\ntime.perf_counter_ns()\n"
    )
    seen = list(engine_trespasses("meridian.engine.x", source, set(), package=False))
    assert seen == [
        "meridian.engine.x:1 imports asyncio",
        "meridian.engine.x:2 uses time.monotonic",
        "meridian.engine.x:4 uses time.perf_counter_ns",
    ]


def test_only_the_choice_of_engine_imports_the_extension(root: Path):
    found = modules(root)
    importers = {
        module
        for module, path in found.items()
        for target, _ in imports(
            module, path.read_text(encoding="utf-8"), set(found), package=path.name == "__init__.py"
        )
        if target.partition(".")[0] == "meridian_fast"
    }
    assert importers <= {"meridian.engine.select"}


def test_the_scan_sees_what_it_should():
    source = (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import meridian.cli\n"
        "else:\n    import meridian.nodes\n"
        "from . import ring\n"
        "def f():\n    from meridian.runtime import plan\n"
    )
    known = {"meridian.engine.ring", "meridian.runtime.plan"}
    seen = [target for target, _ in imports("meridian.engine.step", source, known, package=False)]
    assert seen == ["typing", "meridian.nodes", "meridian.engine.ring", "meridian.runtime.plan"]
    assert (
        layer_of("meridian.engine.ring") < layer_of("meridian.core.edge") < layer_of("meridian.runtime.plan")
    )
    assert layer_of("meridian.core.something_new") is None
