"""The repository names no machine and no registry, and generated pages are up to date."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

# Written so that no line here matches itself.
FORBIDDEN = re.compile(
    r"/(work|farm|root)/[a-z.]"
    r"|\.librar[y]/"
    r"|pyp[i]\.org|pythonhoste[d]"
    r"|registry\.npmj[s]"
    r"|(index|static)\.crate[s]"
    r"|repo1?\.mave[n]"
    r"|proxy\.golan[g]"
    r"|de[b]\.debian"
    r"|--(extra-)?index-ur[l]\b"
)
LOCK_FILES = {"uv.lock", "Cargo.lock", "poetry.lock", "package-lock.json"}
BINARY = {".png", ".jpg", ".gif", ".ico", ".gz", ".zip", ".whl", ".woff", ".woff2", ".pdf"}


def load(root: Path, name: str) -> ModuleType:
    """Import a script of ci/ by its file name."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", root / "ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_no_file_names_a_machine_path_or_a_registry_host(root: Path, tracked: list[Path]):
    found = []
    for path in tracked:
        if path.suffix in BINARY:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if FORBIDDEN.search(text):
            for number, line in enumerate(text.splitlines(), 1):
                if FORBIDDEN.search(line):
                    found.append(f"{path.relative_to(root)}:{number}: {line.strip()[:120]}")
    assert found == []


def test_no_lock_file_that_records_addresses_is_kept(root: Path, tracked: list[Path]):
    kept = [path for path in tracked if path.name in LOCK_FILES or path.match("pylock*.toml")]
    assert [str(path.relative_to(root)) for path in kept] == []


def test_tests_are_not_packages(root: Path):
    packages = [*root.glob("meridian/_tests/**/__init__.py"), *root.glob("conformance/tests/**/__init__.py")]
    assert [str(path.relative_to(root)) for path in packages] == []


def test_change_fragments_have_proper_names(root: Path):
    assert load(root, "check_fragments").problems(root) == []


def test_a_badly_named_fragment_is_found(root: Path, tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text(
        (root / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    folder = tmp_path / "docs" / "changes"
    folder.mkdir(parents=True)
    for name in ("README.md", "V4.fixed.md", "V4.fixed.2.md", "V4.feature.md", "notes.txt"):
        (folder / name).write_text("Something changed.\n", encoding="utf-8")
    (folder / "V5.added.md").write_text("\n", encoding="utf-8")
    found = load(root, "check_fragments").problems(tmp_path)
    assert [problem.partition(":")[0] for problem in found] == ["V4.feature.md", "V5.added.md", "notes.txt"]


def test_the_table_of_requirements_is_up_to_date(root: Path):
    text = (root / "docs" / "requirements.md").read_text(encoding="utf-8")
    assert text == load(root, "requirements_table").page(root), "run `make fmt`"


def write_test(folder: Path, text: str) -> None:
    (folder / "meridian" / "_tests").mkdir(parents=True)
    (folder / "meridian" / "_tests" / "test_x.py").write_text(text, encoding="utf-8")


def test_marks_on_functions_classes_modules_and_in_comments_are_gathered(root: Path, tmp_path: Path):
    write_test(
        tmp_path,
        "import pytest\npytestmark = [pytest.mark.req('V1')]\n"
        "@pytest.mark.req('V2', 'V3')\nasync def test_a(): ...\n"
        "@pytest.mark.req('V4')\nclass TestB: ...\n",
    )
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("text\n<!-- req: V4, V5 -->\n", encoding="utf-8")
    (tmp_path / "asv_bench").mkdir()
    (tmp_path / "asv_bench" / "gates.py").write_text("# req: V13\n", encoding="utf-8")
    test = "meridian/_tests/test_x.py"
    assert load(root, "requirements_table").evidence(tmp_path) == {
        "V1": [test],
        "V2": [test],
        "V3": [test],
        "V4": ["docs/page.md", test],
        "V5": ["docs/page.md"],
        "V13": ["asv_bench/gates.py"],
    }


def test_an_unknown_requirement_id_is_refused(root: Path, tmp_path: Path):
    write_test(tmp_path, "import pytest\n@pytest.mark.req('V99')\ndef test_a(): ...\n")
    with pytest.raises(ValueError, match="V99"):
        load(root, "requirements_table").evidence(tmp_path)


def test_every_verb_says_what_it_does(root: Path):
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split()
    explained = re.findall(r"^([a-z0-9-]+):.* ## \S", makefile, re.MULTILINE)
    assert sorted(explained) == sorted(phony)
    promised = "help demo test lint types conformance stress bench profile docs check setup clean wheels"
    assert set(promised.split()) <= set(phony)
