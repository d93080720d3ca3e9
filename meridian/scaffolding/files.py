"""Where generated source is written, and what is never written over."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from meridian.scaffolding.parsers.names import check_class_name, package_parts, snake_case
from meridian.scaffolding.templates.node import generate_node_template, node_test
from meridian.scaffolding.templates.subgraph import generate_subgraph_template, subgraph_test


@dataclass(frozen=True)
class Written:
    """What was generated.

    Attributes:
        name: Of the class.
        module: Dotted name of its module, as seen from the folder that was written to.
        path: Of the module.
        test: Of its test, or ``None``.
        further: Other files that didn't exist: ``__init__.py`` files, and a ``conftest.py`` that lets the tests import
            the module.
    """

    name: str
    module: str
    path: Path
    test: Path | None
    further: tuple[Path, ...]


def write_node(
    name: str, package: str, inputs: Mapping[str, str], outputs: Mapping[str, str], base_dir: str | Path, *,
    include_tests: bool = False, force: bool = False, policy: str | None = None,
) -> Written:  # fmt: skip
    """Generate a node; see `create_node_files` for the arguments.

    Raises:
        ValueError: a name, a type or the policy can't be used; nothing was written.
        FileExistsError: a file is there already; nothing was written.
        OSError: a file can't be written.
    """
    base = Path(base_dir)
    search = (str(base), os.getcwd())
    return _write(
        name, package, base, "unit", force=force, include_tests=include_tests,
        make=lambda: generate_node_template(name, inputs, outputs, policy, search=search),
        make_test=lambda module: node_test(name, module, inputs, outputs, search, is_own=_is_own(base)),
    )  # fmt: skip


def write_subgraph(
    name: str, package: str, base_dir: str | Path, *, include_tests: bool = False, force: bool = False
) -> Written:
    """Generate a subgraph; see `create_subgraph_files` for the arguments, and `write_node` for what is raised."""
    base = Path(base_dir)
    return _write(
        name, package, base, "integration", force=force, include_tests=include_tests,
        make=lambda: generate_subgraph_template(name),
        make_test=lambda module: subgraph_test(name, module, is_own=_is_own(base)),
    )  # fmt: skip


def create_node_files(
    name: str, package: str, inputs: Mapping[str, str], outputs: Mapping[str, str], base_dir: str | Path,
    include_tests: bool = False, force: bool = False, policy: str | None = None,
) -> bool:  # fmt: skip
    """Generate a node, and say on stdout what was written, or what is wrong.

    Args:
        name: Of the class, in PascalCase.
        package: Dotted name of the package it goes to; ``__init__.py`` files are made where there are none.
        inputs: Type by name of input, as `parse_ports` returns them.
        outputs: The same for outputs.
        base_dir: The folder that the package stands in.
        include_tests: Write ``../tests/unit/test_<module>.py``, too, seen from ``base_dir``.
        force: Write over a node and a test that are there; other files are never written over.
        policy: Overflow policy that the node's documentation recommends.

    Returns:
        Whether the files were written.
    """
    return _told(
        "node",
        lambda: write_node(
            name, package, inputs, outputs, base_dir, include_tests=include_tests, force=force, policy=policy
        ),
    )


def create_subgraph_files(
    name: str, package: str, base_dir: str | Path, include_tests: bool = False, force: bool = False
) -> bool:
    """Generate a subgraph, and say on stdout what was written, or what is wrong.

    Its test goes to ``../tests/integration``, seen from ``base_dir``; all else is as for `create_node_files`.
    """
    return _told(
        "subgraph",
        lambda: write_subgraph(name, package, base_dir, include_tests=include_tests, force=force),
    )


def describe_failure(error: OSError | ValueError) -> str:
    """Say what is wrong and what helps."""
    if isinstance(error, FileExistsError) and error.errno is None:
        return str(error)
    if isinstance(error, OSError):
        return f"can't write {error.filename}: {error.strerror}"
    return str(error)


def _told(kind: str, write: Callable[[], Written]) -> bool:
    try:
        written = write()
    except (OSError, ValueError) as error:
        print(f"Error: {describe_failure(error)}")
        return False
    print(f"Created {kind}: {written.path}")
    if written.test is not None:
        print(f"Created test: {written.test}")
    return True


def _write(
    name: str, package: str, base: Path, kind_of_test: str, *,
    force: bool, include_tests: bool, make: Callable[[], str], make_test: Callable[[str], str],
) -> Written:  # fmt: skip
    # Everything is checked and made before anything is written.
    check_class_name(name)
    parts = package_parts(package)
    module = ".".join((*parts, snake_case(name)))
    contents = {base.joinpath(*parts, f"{snake_case(name)}.py"): make()}
    further = {base.joinpath(*parts[: i + 1], "__init__.py"): "" for i in range(len(parts))}
    test: Path | None = None
    if include_tests:
        tests = base.resolve().parent / "tests"
        test = tests / kind_of_test / f"test_{snake_case(name)}.py"
        contents[test] = make_test(module)
        further[tests / "conftest.py"] = _conftest(base.resolve().name)
        if not test.parent.exists():
            # As a package its tests are told from those of the other kind that have the same name.
            further[test.parent / "__init__.py"] = ""
    if not force:
        for path in contents:
            if path.exists():
                raise FileExistsError(f"{path} already exists: give another name, or --force to replace it")
    missing = {path: text for path, text in further.items() if not path.exists()}
    for path, text in {**missing, **contents}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Written(name, module, next(iter(contents)), test, tuple(missing))


def _is_own(base: Path) -> bool:
    return base.resolve().name == "src"


def _conftest(folder: str) -> str:
    return f'''"""Lets these tests import what stands in the folder {folder}, wherever pytest is started."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / {_quoted(folder)}))
'''


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)
