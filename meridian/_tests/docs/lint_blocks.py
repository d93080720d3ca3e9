"""Lints the graphs that examples make: `python lint_blocks.py blocks.json`; prints what is found as JSON, by example.

Not a test module: `test_lint_page.py` starts it.
"""

import contextlib
import io
import json
import os
import sys
from pathlib import Path

from meridian.core.subgraph import Subgraph
from meridian.lint import lint
from meridian.observability import ObservabilityConfig, configure_observability

made: list[Subgraph] = []


new = Subgraph.__new__


def remembering(cls, *args, **kwargs):
    """Make a graph and remember it."""
    each = new(cls, *args, **kwargs)
    made.append(each)
    return each


def main() -> None:
    examples = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Subgraph.__new__ = remembering
    found: dict[str, list[str]] = {}
    linted = 0
    for number, example in enumerate(examples):
        path = Path(f"example_{number}.py").resolve()
        path.write_text(example["source"], encoding="utf-8")
        made.clear()
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                code = compile(example["source"], str(path), "exec")
                exec(code, {"__name__": "__main__", "__file__": str(path)})
            finally:
                configure_observability(ObservabilityConfig())
        inner = {id(each) for graph in made for each in graph.nodes.values()}
        for graph in list(made):
            if id(graph) not in inner:
                linted += 1
                told = [str(each) for each in lint(graph) if each.level != "note"]
                found.setdefault(example["name"], []).extend(told)
    print(json.dumps({"linted": linted, "found": {name: told for name, told in found.items() if told}}))
    sys.stdout.flush()
    os._exit(0)  # examples leave daemon threads behind


if __name__ == "__main__":
    main()
