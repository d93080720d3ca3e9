"""Section 1 of the v1 reference, and the signatures of all sections: the data in reference.toml against the package."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from enum import Enum
from importlib.metadata import PackageNotFoundError, requires
from inspect import Parameter
from pathlib import Path
from typing import Any

import pytest

import meridian
from meridian import _v1_paths

pytestmark = pytest.mark.req("V1")

REFERENCE = tomllib.loads(Path(__file__).with_name("reference.toml").read_text(encoding="utf-8"))
PACKAGE = Path(meridian.__file__).parent


def load(module: str) -> Any:
    """Import a module, wherever it moved to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module(module)


def resolve(path: str) -> Any:
    """Return the object that a dotted name means: a module's, or a member of one of its classes."""
    parts = path.split(".")
    split = next(i for i, part in enumerate(parts) if part[0].isupper() or i == len(parts) - 1)
    found = load(".".join(parts[:split]))
    for part in parts[split:]:
        found = getattr(found, part)
    return found


# --- names


@pytest.mark.parametrize("module", REFERENCE["imports"])
def test_every_name_of_the_import_map_can_be_imported_from_its_module(module):
    names: dict[str, object] = {}
    for name in REFERENCE["imports"][module].split():
        exec(f"from {module} import {name}", names)


@pytest.mark.parametrize("module", REFERENCE["deep"])
def test_every_deep_module_can_be_imported_and_has_its_names(module):
    loaded = load(module)
    assert [name for name in REFERENCE["deep"][module].split() if not hasattr(loaded, name)] == []


def test_a_name_is_the_same_object_wherever_it_is_imported_from():
    # These are two by design: of the message's trace and of any id.
    two = {"new_trace_id", "time_block", "SchemaValidator", "generate_trace_id", "generate_test_template"}
    homes: dict[str, set[int]] = {}
    for module, names in {**REFERENCE["imports"], **REFERENCE["deep"]}.items():
        for name in set(names.split()) - two:
            homes.setdefault(name, set()).add(id(getattr(load(module), name)))
    assert [name for name, objects in homes.items() if len(objects) > 1] == []


def test_every_name_of_the_nodes_can_be_imported_from_meridian():
    names = REFERENCE["imports"]["meridian.nodes"].split()
    assert [
        name for name in names if getattr(meridian, name, None) is not getattr(meridian.nodes, name)
    ] == []


def test_star_imports_give_all_of_it():
    names: dict[str, object] = {}
    exec("from meridian import *", names)
    wanted = {
        *REFERENCE["imports"]["meridian"].split(),
        *REFERENCE["imports"]["meridian.nodes"].split(),
    } - {"__version__", "core", "observability", "utils", "nodes"}
    assert sorted(wanted - names.keys()) == []


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.v1("L12", "D50")
def test_the_version_is_of_digits_and_dots_and_not_zero():
    assert re.fullmatch(r"\d+(\.\d+){0,2}", meridian.__version__)
    assert meridian.__version__ != "0.0.0"


@pytest.mark.v1("D50")
def test_nothing_from_outside_is_required():
    try:
        required = requires("meridian-runtime") or []
    except PackageNotFoundError:
        pytest.skip("runs from a folder that was not installed")
    assert [each for each in required if "extra ==" not in each] == []


# --- signatures


def signatures() -> Iterator[Any]:
    for module, callables in REFERENCE["signatures"].items():
        for name, signature in callables.items():
            yield pytest.param(module, name, signature, id=f"{module}.{name}")


def parameters_of(text: str) -> list[Parameter]:
    """Parse parameters as they stand in a `def`; defaults stay source text."""
    arguments = ast.parse(f"def f({text}): ...").body[0].args
    found: list[Parameter] = []
    named = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(named) - len(arguments.defaults)) + list(arguments.defaults)

    def add(argument: ast.arg, kind: Any, default: ast.expr | None) -> None:
        text = Parameter.empty if default is None else ast.unparse(default)
        found.append(Parameter(argument.arg, kind, default=text))

    for argument, default in zip(named, defaults, strict=True):
        add(argument, Parameter.POSITIONAL_OR_KEYWORD, default)
    if arguments.vararg:
        add(arguments.vararg, Parameter.VAR_POSITIONAL, None)
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        add(argument, Parameter.KEYWORD_ONLY, default)
    if arguments.kwarg:
        add(arguments.kwarg, Parameter.VAR_KEYWORD, None)
    return found


def differences(actual: inspect.Signature, wanted: list[Parameter], value_of: Any) -> list[str]:
    """Say what a caller of v1 would notice; parameters that are new, optional and last are not noticed."""
    found = []
    have = list(actual.parameters.values())
    for i, expected in enumerate(wanted):
        variadic = expected.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        if variadic:
            if not any(each.kind is expected.kind for each in have):
                found.append(f"*{expected.name} is missing")
            continue
        given = actual.parameters.get(expected.name)
        if given is None:
            found.append(f"{expected.name} is missing")
            continue
        if expected.kind is Parameter.POSITIONAL_OR_KEYWORD:
            if given.kind is not Parameter.POSITIONAL_OR_KEYWORD:
                found.append(f"{expected.name} is {given.kind.description}")
            elif have.index(given) != i:
                found.append(f"{expected.name} is number {have.index(given)}, was {i}")
        elif given.kind not in (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD):
            found.append(f"{expected.name} can't be named")
        if expected.default is not Parameter.empty and given.default is Parameter.empty:
            found.append(f"{expected.name} has no default")
        elif expected.default not in (Parameter.empty, "...") and given.default != value_of(expected.default):
            found.append(f"{expected.name} is {given.default!r} by default, was {expected.default}")
    new = [each for each in have if each.name not in {parameter.name for parameter in wanted}]
    found += [
        f"{each.name} is new and has no default"
        for each in new
        if each.default is Parameter.empty
        and each.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    ]
    return found


@pytest.mark.parametrize(("module", "name", "signature"), list(signatures()))
def test_a_signature_is_what_it_was(module, name, signature):
    loaded = load(module)
    target: Any = loaded
    for part in name.split("."):
        target = getattr(target, part)
    own_init = inspect.isclass(target) and inspect.isfunction(target.__init__)
    actual = inspect.signature(target.__init__ if own_init else target)
    if own_init or ("." in name and not inspect.ismethod(target)):
        actual = actual.replace(parameters=list(actual.parameters.values())[1:])  # self

    def value_of(text: str) -> Any:
        enums = {
            each.rpartition(".")[2]: resolve(each)
            for each in REFERENCE["enums"]
            if f"{each.rpartition('.')[2]}." in text
        }
        return eval(text, enums)

    wanted = parameters_of(signature)
    for i, parameter in enumerate(wanted):
        changed = REFERENCE["changed"].get(f"{module}.{name}.{parameter.name}")
        if changed is not None:
            wanted[i] = parameter.replace(default=changed)
    assert differences(actual, wanted, value_of) == []


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ("a, b=1, *c, d=2, **e", []),
        ("a, b=1, *c, d=2, f=3, **e", []),
        ("b=1, a=0, *c, d=2, **e", ["a is number 1, was 0", "b is number 0, was 1"]),
        ("a, b=2, *c, d=2, **e", ["b is 2 by default, was 1"]),
        ("a, b=1, *c, d, **e", ["d has no default"]),
        ("a, b=1, *c, **e", ["d is missing"]),
        ("a, *, b=1, d=2", ["b is keyword-only", "*c is missing", "*e is missing"]),
        ("a, b=1, *c, d=2, f, **e", ["f is new and has no default"]),
    ],
)
def test_what_a_caller_would_notice_is_found(now, found):
    function = eval(f"lambda {now}: 0")
    assert differences(inspect.signature(function), parameters_of("a, b=1, *c, d=2, **e"), eval) == found


# --- values


@pytest.mark.parametrize("path", REFERENCE["enums"])
def test_an_enum_has_its_members_and_their_values(path):
    members = dict(REFERENCE["enums"][path])
    base = {"str": str, "int": int, None: Enum}[members.pop("base", None)]
    enum = resolve(path)
    assert issubclass(enum, Enum)
    assert issubclass(enum, base)
    assert {name: enum[name].value for name in members} == members
    if base is str:
        assert all(enum[name] == value for name, value in members.items())


def test_the_results_of_a_put_are_five():
    assert [each.name for each in resolve("meridian.core.policies.PutResult")] == [
        "OK",
        "BLOCKED",
        "DROPPED",
        "REPLACED",
        "COALESCED",
    ]


@pytest.mark.parametrize("path", REFERENCE["fields"])
def test_a_dataclass_begins_with_its_fields_in_order(path):
    wanted = REFERENCE["fields"][path].split()
    names = [field.name for field in dataclasses.fields(resolve(path))]
    assert names[: len(wanted)] == wanted


def test_a_validation_issue_is_a_named_tuple():
    assert resolve("meridian.core.subgraph.ValidationIssue")._fields == ("level", "code", "message")


def test_the_latency_buckets_are_what_they_were():
    buckets = resolve("meridian.observability.metrics.DEFAULT_LATENCY_BUCKETS")
    assert list(buckets) == [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5]


# --- keys


@pytest.fixture(scope="module")
def literals() -> set[str]:
    """Every string that the package's source spells out."""
    return {
        node.value
        for file in PACKAGE.rglob("*.py")
        if "_tests" not in file.parts
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("level", REFERENCE["events"])
def test_every_event_key_is_still_in_use(level, literals):
    assert [key for key in REFERENCE["events"][level].split() if key not in literals] == []


def test_keys_of_v1s_inner_loop_are_really_gone(literals):
    assert [key for key in REFERENCE["gone"]["events"].split() if key in literals] == []


def test_every_metric_name_is_still_in_use(literals):
    assert [name for name in REFERENCE["metrics"] if name not in literals] == []


@pytest.mark.parametrize("module", REFERENCE["commands"])
def test_a_scaffolding_command_has_its_options(module):
    ran = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert [option for option in REFERENCE["commands"][module].split() if option not in ran.stdout] == []


# --- old paths


def moved() -> list[str]:
    return [path for path in REFERENCE["deep"] if path in _v1_paths.MOVED]


def test_every_old_path_is_in_the_reference():
    assert set(_v1_paths.MOVED) - set(REFERENCE["deep"]) == set()


@pytest.mark.req("X4")
@pytest.mark.parametrize("old", moved())
def test_an_old_path_gives_its_new_home_and_warns_where_it_is_imported(old):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match="import from there") as caught:
        loaded = importlib.import_module(old)
    assert loaded is sys.modules[_v1_paths.MOVED[old]]
    (warning,) = caught
    assert str(warning.message) == f"{old} is now {_v1_paths.MOVED[old]}: import from there"


def test_the_warning_points_at_the_import_statement():
    sys.modules.pop("meridian.core.edge.definition", None)
    with pytest.warns(DeprecationWarning, match="import from there") as caught:
        import meridian.core.edge.definition  # type: ignore[import-not-found]  # noqa: F401
    assert caught[0].filename == __file__


def test_an_old_path_leaves_its_new_home_as_it_was():
    import pickle

    import meridian.core.edge as home

    before = (home.__name__, home.__spec__, home.__file__)
    sys.modules.pop("meridian.core.edge.definition", None)
    load("meridian.core.edge.definition")
    assert (home.__name__, home.__spec__, home.__file__) == before
    assert home is importlib.import_module("meridian.core.edge")
    assert pickle.loads(pickle.dumps(home.Edge)) is home.Edge


@pytest.mark.parametrize(
    "unknown", ["meridian.core.edge.other", "meridian.core.nothing", "meridian.core.edge.definition.x"]
)
def test_a_path_that_never_was_is_still_not_found(unknown):
    with pytest.raises(ModuleNotFoundError):
        load(unknown)


def test_import_meridian_imports_no_old_path_and_its_subpackages_are_attributes():
    code = (
        "import sys, meridian\n"
        "from meridian._v1_paths import MOVED\n"
        "assert not set(MOVED) & set(sys.modules)\n"
        "meridian.core.Message, meridian.observability.get_logger, meridian.utils.require, meridian.nodes\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
