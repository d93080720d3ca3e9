"""What `import meridian` costs and shows: nothing from outside, and exactly the public names.

The extension isn't from outside: messages are made in it where it is installed.
"""

import subprocess
import sys
import types

import pytest

import meridian

# Run with -I: no user site, no environment variables, no current folder. -X frozen_modules changes nothing we test.
LIST_MODULES = """
import sys
before = set(sys.modules)
import meridian
from meridian import *
new = {name.partition(".")[0] for name in set(sys.modules) - before}
left_out = {"_xxsubinterpreters"}  # Python's own, though not on its list; it says which interpreter this is
print(sorted(new - set(sys.stdlib_module_names) - left_out - {"meridian", "meridian_fast"}))
"""


def run_isolated(code: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.req("V1")
def test_import_meridian_loads_no_third_party_module():
    assert run_isolated(LIST_MODULES) == "[]\n"


def test_the_check_above_would_notice_a_third_party_module():
    assert run_isolated(LIST_MODULES.replace("import meridian\n", "import meridian, pytest\n")) != "[]\n"


@pytest.mark.req("V11")
def test_import_meridian_loads_no_ready_made_node():
    loaded = "[name for name in sys.modules if name.startswith(('meridian.nodes.', 'meridian.testing'))]"
    assert run_isolated(f"import sys, meridian, meridian.nodes\nprint({loaded})") == "[]\n"


@pytest.mark.req("V1")
def test_all_is_exactly_the_public_attributes():
    declared = list(meridian.__all__)
    assert len(declared) == len(set(declared)), "a name stands twice in __all__"
    missing = [name for name in declared if not hasattr(meridian, name)]
    assert missing == []
    # Submodules become attributes as they are imported, wherever that happens: they count only if declared.
    public = {
        name
        for name, value in vars(meridian).items()
        if not name.startswith("_")
        and not (isinstance(value, types.ModuleType) and value.__name__.startswith("meridian."))
    }
    assert public <= set(declared), f"public but not in __all__: {sorted(public - set(declared))}"


@pytest.mark.req("V1")
def test_star_import_brings_every_declared_name():
    names: dict[str, object] = {}
    exec("from meridian import *", names)
    assert set(meridian.__all__) <= set(names)
