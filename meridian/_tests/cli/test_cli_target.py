"""TARGET: what it may be, and what is said when it isn't."""

import json

import pytest

pytestmark = pytest.mark.req("N1.4")

MANY = """
from meridian import Scheduler, graph, node, sink, source

def build(): return graph("made", source([1]) >> sink(print))
async def later(): return build()
def scheduler():
    made = Scheduler()
    made.register(build())
    return made
def needs(path, *, limit): ...
def nothing(): ...
def number(): return 7
async def broken():
    return {}["x"]
@node
def piece(x: int) -> int: return x
flow = source([1]) >> piece
ready = build()
class holder:
    inner = build()
"""


@pytest.mark.parametrize("attribute", ["build", "later", "scheduler", "ready", "holder.inner"])
@pytest.mark.parametrize("place", ["app.py", "app", "./app.py"])
def test_graphs_schedulers_and_functions_that_return_them_run(write, meridian, place, attribute):
    write("app.py", MANY)
    ran = meridian("run", f"{place}:{attribute}", "--quiet")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "1\n", "")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("", "TARGET is empty: give module:attribute or path/to/file.py:attribute"),
        (":build", "':build' names no module or file before the colon: give"),
        ("app:", "'app:' names nothing after the colon: give"),
        ("app:build()", "'build()' in 'app:build()' is not an attribute's name: leave the brackets out"),
        ("app:a-b", "'a-b' in 'app:a-b' is not an attribute's name: give"),
        ("my app", "'my app' is neither a module's name nor a path to a .py file: give"),
        ("app:build_", "'app' has no attribute 'build_': did you mean 'build'?"),
        ("app:holder.iner", "'app:holder' has no attribute 'iner': did you mean 'inner'?"),
        ("app:zzz", "'app' has no attribute 'zzz'; its graphs and functions: broken, build, later,"),
        ("app:needs", "app:needs needs arguments (path, limit), and is called with none: give them defaults"),
        ("app:nothing", "app:nothing returned None: return a Subgraph or a Scheduler at its end"),
        ("app:number", "app:number returned an int: name a Subgraph, a Scheduler, or a function that returns one"),
        ("app:piece", "app:piece is a NodeFunction: make a graph of it, meridian.graph('name', ...)"),
        ("app:flow", "app:flow is a Flow: make a graph of it, meridian.graph('name', ...)"),
        ("app:__name__", "app:__name__ is a str: name a Subgraph, a Scheduler, or a function that returns one"),
        ("ap", "there is no module 'ap' in the current folder or among the installed packages: did you mean 'app'?"),
        ("zzz", "there is no module 'zzz' in the current folder or among the installed packages: check the name"),
        ("app.x", "there is no module 'app.x': 'app' is a module and not a package; to name something in it, write app:x"),
        ("zzz.y", "there is no module 'zzz', so 'zzz.y' can't be imported"),
        ("pkg.mod", "there is no module 'pkg.mod' in package 'pkg': did you mean 'pkg.mode'?"),
        ("./ap.py", "there is no file './ap.py': did you mean 'app.py'?"),
        ("./app", "there is no file './app': did you mean 'app.py'?"),
        ("no/such.py", "there is no file 'no/such.py', and no folder 'no': paths are relative to"),
        ("plain/", "'plain/' is a folder: name a file in it, such as plain/a.py"),
        ("plain", "'plain' is a folder, not a module: name a file in it, such as plain/a.py"),
        ("./notes.txt", "'./notes.txt' is not a Python file: give"),
        ("hollow.py", "'hollow.py' has neither 'build' nor 'graph', nor anything else to load: define build()"),
        ("other.py", "'other.py' has neither 'build' nor 'graph': name what to load, such as other.py:pipeline"),
        ("both.py", "'both.py' has two that could be meant: say which of both.py:build and both.py:graph"),
    ],
)  # fmt: skip
def test_a_target_that_is_wrong_is_told_with_value_and_fix(write, meridian, target, said):
    write("app.py", MANY)
    write("pkg/__init__.py", "")
    write("pkg/mode.py")
    write("plain/a.py")
    write("notes.txt", "")
    write("hollow.py", "x = 1\n")
    write("other.py", "from meridian import graph\ndef pipeline(): ...\ndef needs(x): ...\n")
    write("both.py", "def build(): ...\ndef graph(): ...\n")
    ran = meridian("run", target, "--quiet")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"Error: {said}")
    assert ran.stderr.count("\n") == 1


def test_a_bad_target_is_one_json_object_too(write, meridian):
    ran = meridian("run", "zzz", "--json")
    said = json.loads(ran.stdout)
    assert (ran.exit_code, ran.stdout.count("\n"), said["target"]) == (2, 1, "zzz")
    assert said["error"].startswith("there is no module 'zzz'")


@pytest.mark.parametrize("command", ["run", "lint"])
def test_a_path_that_the_system_refuses_to_look_at_is_told(folder, meridian, command):
    name = "x" * 300 + ".py"
    ran = meridian(command, name)
    assert (ran.exit_code, ran.stderr) == (2, f"Error: can't look for {name!r}: File name too long\n")


@pytest.mark.parametrize(
    "command",
    [("run", "app.py"), ("lint", "app"), ("validate", "a", "b"), ("scaffold", "node", "OrderFilter")],
)
def test_a_current_folder_that_has_gone_is_told(folder, monkeypatch, meridian, command):
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    ran = meridian(*command)
    assert (ran.exit_code, ran.stderr) == (
        2,
        "Error: the current folder can't be used (No such file or directory): change to one that is there\n",
    )


def test_a_link_that_leads_nowhere_is_not_proposed_in_its_own_place(folder, meridian):
    (folder / "app.py").symlink_to("nothing.py")
    ran = meridian("run", "app.py")
    assert (ran.exit_code, ran.stderr) == (2, "Error: there is no file 'app.py': check the path\n")


@pytest.mark.parametrize(
    "command", [("run",), ("profile",), ("schema", "export"), ("diagnostics", "collect")]
)
def test_a_second_target_is_no_argument_of_the_first(write, meridian, command):
    write("app.py", "raise SystemExit('loaded')")
    ran = meridian(*command, "app.py", "other.py", "--", "x")
    assert ran.exit_code == 2
    said = " ".join(ran.stderr.replace("│", " ").split())
    assert "'other.py' is one TARGET too many" in said
    assert f"follows --, as in: meridian {' '.join(command)} TARGET -- other.py" in said


def test_arguments_without_a_target_are_refused(meridian):
    ran = meridian("profile", "--", "x")
    assert ran.exit_code == 2
    assert "what follows -- is for TARGET's own code, and there is no TARGET" in ran.stderr


def test_a_missing_target_is_a_usage_error(meridian):
    ran = meridian("run")
    assert ran.exit_code == 2
    assert "TARGET" in ran.stderr


def test_without_an_attribute_the_imported_function_graph_is_not_meant(write, meridian):
    write("app.py")  # `from meridian import graph` stands in it
    assert meridian("run", "app", "--quiet").stdout == "0\n2\n4\n"


def test_a_variable_named_graph_is_the_default_too(write, meridian):
    write(
        "app.py",
        "import meridian\ngraph = meridian.graph('g', meridian.source([5]) >> meridian.sink(print))\n",
    )
    assert meridian("run", "app", "--quiet").stdout == "5\n"


def test_the_targets_own_traceback_is_shown_without_ours(write, meridian):
    path = write("app.py", "def helper():\n    raise LookupError('theirs')\n\nhelper()\n")
    ran = meridian("run", "app.py")
    assert ran.exit_code == 2
    assert ran.stderr.splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{path}", line 4, in <module>',
        "    helper()",
        f'  File "{path}", line 2, in helper',
        "    raise LookupError('theirs')",
        "LookupError: theirs",
        "Error: importing 'app.py' raised LookupError: see its traceback above",
    ]


def test_the_traceback_of_an_async_function_shows_no_event_loop(write, meridian):
    write("app.py", MANY)
    ran = meridian("run", "app:broken")
    assert "asyncio" not in ran.stderr
    assert "KeyError: 'x'\nError: calling app:broken raised KeyError: see its traceback above\n" in ran.stderr


@pytest.mark.parametrize("target", ["app.py", "app"])
def test_something_that_the_target_imports_is_missing_and_not_the_target(write, meridian, target):
    write("app.py", "import not_there_at_all\n")
    ran = meridian("run", target)
    assert ran.exit_code == 2
    assert "ModuleNotFoundError: No module named 'not_there_at_all'" in ran.stderr
    assert f"Error: importing {target!r} raised ModuleNotFoundError" in ran.stderr


def test_a_syntax_error_shows_the_line(write, meridian):
    path = write("app.py", "x = 1\ndef (:\n")
    ran = meridian("validate", "app.py")
    assert ran.exit_code == 2
    assert ran.stderr.splitlines()[:2] == [f'  File "{path}", line 2', "    def (:"]


def test_a_module_that_exits_is_told_apart_from_one_that_works(write, meridian):
    write("app.py", "import sys\nsys.exit(0)\n")
    ran = meridian("run", "app.py")
    assert ran.exit_code == 2
    assert ran.stderr == (
        "Error: importing 'app.py' called sys.exit(0): put what only a script should do below if __name__ == '__main__'\n"
    )


def test_a_file_finds_its_siblings(write, meridian):
    write("deep/parts.py", "numbers = [7]\n")
    write("deep/app.py", "from parts import numbers\nfrom meridian import graph as g, sink, source\n"
          "def build(): return g('x', source(numbers) >> sink(print))\n")  # fmt: skip
    assert meridian("run", "deep/app.py", "--quiet").stdout == "7\n"


def test_a_file_in_a_package_may_import_relatively(write, meridian):
    write("pack/__init__.py", "")
    write("pack/parts.py", "numbers = [8]\n")
    write("pack/app.py", "from .parts import numbers\nfrom meridian import graph as g, sink, source\n"
          "def build(): return g('x', source(numbers) >> sink(print))\n")  # fmt: skip
    assert meridian("run", "pack/app.py", "--quiet").stdout == "8\n"
    assert meridian("run", "pack.app", "--quiet").stdout == "8\n"


def test_a_file_named_like_a_standard_module_does_not_replace_it(write, meridian):
    import json as before
    import sys

    write("json.py")
    assert meridian("run", "json.py", "--quiet").stdout == "0\n2\n4\n"
    assert sys.modules["json"] is before


def test_types_of_a_file_can_be_resolved(write, meridian):
    write("typed.py", "from __future__ import annotations\nfrom dataclasses import dataclass\n"
          "from meridian import graph, node, sink, source\n"
          "@dataclass\nclass Item:\n    n: int\n"
          "@node\ndef count(item: Item) -> int:\n    return item.n\n"
          "def build(): return graph('typed', source([Item(9)]) >> count >> sink(print))\n")  # fmt: skip
    assert meridian("run", "typed.py", "--quiet").stdout == "9\n"
