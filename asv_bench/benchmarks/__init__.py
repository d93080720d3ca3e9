"""The workloads for asv, one file each, on both engines; everything that isn't timed is in ``setup``.

asv installs the commit under test and imports only this folder, so the measured code beside it is made importable here
as ``asv_bench``, and what that borrows from the conformance kit: today's workloads measure yesterday's engine. Nothing here imports Meridian before ``setup`` has said
which engine (`_engine`).
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path

if "asv_bench" not in sys.modules:
    spec = ModuleSpec("asv_bench", None, is_package=True)
    spec.submodule_search_locations = [str(Path(__file__).parents[1])]
    sys.modules["asv_bench"] = module_from_spec(spec)

if find_spec("meridian_conformance") is None:
    sys.path.append(str(Path(__file__).parents[2] / "conformance"))
