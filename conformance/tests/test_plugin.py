import subprocess
import sys

import pytest


def test_plugin_registers_the_rule_marker(pytestconfig: pytest.Config) -> None:
    assert any(line.startswith("rule(*ids)") for line in pytestconfig.getini("markers"))


def test_plugin_loads_neither_hypothesis_nor_meridian() -> None:
    code = (
        "import sys, meridian_conformance.plugin\n"
        "print(sorted({'hypothesis', 'meridian'} & {name.partition('.')[0] for name in sys.modules}))"
    )
    seen = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout == "[]\n"
