"""Every name of the node library can be had from three places, and none is loaded before somebody asks for it."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

import meridian
from meridian import Node, nodes

pytestmark = pytest.mark.req("V1", "V11")

LISTED = [(module, name) for module, names in nodes.HOMES.items() for name in names]


def in_its_own_process(code: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(("module", "name"), LISTED, ids=[name for _, name in LISTED])
def test_a_name_is_the_same_object_in_its_module_in_meridian_nodes_and_in_meridian(module, name):
    home = importlib.import_module(module)
    assert getattr(nodes, name) is getattr(home, name)
    assert getattr(meridian, name) is getattr(home, name)


def test_every_public_node_and_enum_of_the_package_is_exported():
    modules = [each.name for each in pkgutil.walk_packages(nodes.__path__, "meridian.nodes.")]
    public = {
        name
        for module in modules
        for name, value in vars(importlib.import_module(module)).items()
        if isinstance(value, type)
        and issubclass(value, (Node, Enum))
        and value.__module__ == module
        and not name.startswith("_")
    }
    assert public - BASES <= set(nodes.__all__)
    assert not BASES & set(nodes.__all__)


# What these nodes are made of; public within the package, for nodes of ours.
BASES = {"BackgroundNode", "BurstNode", "BurstPipeNode", "PipeNode"}


def test_the_three_lists_of_the_package_agree():
    tree = ast.parse(Path(nodes.__file__).read_text(encoding="utf-8"))
    checked = next(each for each in tree.body if isinstance(each, ast.If) and isinstance(each.test, ast.Name))
    seen_by_type_checkers = {
        each.module: tuple(alias.name for alias in each.names)
        for each in checked.body
        if isinstance(each, ast.ImportFrom)
    }
    assert seen_by_type_checkers == nodes.HOMES
    assert nodes.__all__ == [name for names in nodes.HOMES.values() for name in names]


def test_the_first_use_of_a_name_loads_its_module_and_no_other():
    in_its_own_process(
        "import sys, meridian\n"
        "assert 'meridian.nodes.base' not in sys.modules\n"
        "assert meridian.FunctionNode is meridian.nodes.FunctionNode\n"
        "loaded = {name for name in sys.modules if name.startswith('meridian.nodes.')}\n"
        "assert loaded == {'meridian.nodes.base'}, loaded\n"
    )


def test_the_modules_are_attributes_of_the_package_without_being_imported_as_in_v1():
    in_its_own_process(
        "import meridian\n"
        "assert meridian.nodes.controllers.Router is meridian.Router\n"
        "assert meridian.nodes.network.HttpClientNode is meridian.HttpClientNode\n"
        "assert not hasattr(meridian.nodes, 'no_such_module')\n"
    )


def test_a_name_is_kept_after_its_first_use():
    in_its_own_process(
        "import meridian\n"
        "assert 'FunctionNode' not in vars(meridian)\n"
        "meridian.FunctionNode\n"
        "assert 'FunctionNode' in vars(meridian) and 'FunctionNode' in vars(meridian.nodes)\n"
    )


def test_star_imports_bring_every_name():
    for package in ("meridian", "meridian.nodes"):
        names: dict[str, object] = {}
        exec(f"from {package} import *", names)
        assert set(nodes.__all__) <= set(names)


def test_dir_shows_what_is_not_loaded_yet():
    in_its_own_process(
        "import meridian\n"
        "assert set(meridian.__all__) <= set(dir(meridian))\n"
        "assert set(meridian.nodes.__all__) <= set(dir(meridian.nodes))\n"
        "assert 'FunctionNode' not in vars(meridian)\n"
    )


@pytest.mark.parametrize("package", ["meridian", "meridian.nodes"])
def test_a_misspelt_name_is_not_found_and_the_error_says_where_it_was_looked_for(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'DataProduction'"):
        getattr(importlib.import_module(package), "DataProduction")  # noqa: B009 - the spelling is the point
    with pytest.raises(ImportError):
        exec(f"from {package} import DataProduction")
