"""Source text of a node and its test.

Parts of the text are pinned by programs written for v1: the class statement, the imports, the hooks, which are
asynchronous, and the ports, which are dicts of specifications by name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, get_origin

from meridian.scaffolding.parsers.names import check_class_name, snake_case
from meridian.scaffolding.parsers.types import PortTypes, resolve_types
from meridian.scaffolding.templates.source import import_block, module_under_test, source

POLICIES: Final = ("block", "drop", "latest", "coalesce")

_IMPORTED: Final = {"Any", "Message", "Node", "PortSpec", "annotations"}

_SAMPLES: Final[dict[Any, str]] = {
    bool: "True",
    bytes: 'b"payload"',
    dict: "{}",
    float: "1.5",
    int: "1",
    list: "[]",
    set: "set()",
    str: '"payload"',
    tuple: "()",
}


def generate_node_template(
    class_name: str, inputs: Mapping[str, str], outputs: Mapping[str, str], policy: str | None = None,
    *, search: Iterable[str] = (),
) -> str:  # fmt: skip
    """Return the source text of a node.

    Args:
        class_name: In PascalCase; the node's name is the same in snake case.
        inputs: Type by name of input, as `parse_ports` returns them.
        outputs: The same for outputs.
        policy: What its documentation recommends for the edges that lead to it: block, drop, latest or coalesce;
            capitals don't matter.
        search: Folders in which modules of types may stand, besides those on ``sys.path``.

    Raises:
        ValueError: a name, a type or the policy can't be used; says which, and what can.
    """
    types = _types(class_name, inputs, outputs, search)
    if policy is not None and policy.lower() not in POLICIES:
        raise ValueError(f"policy {policy!r}: use {', '.join(POLICIES)}")
    has_ports = bool(inputs or outputs)
    standard = {module: names for module, names in types.names.items() if _is_standard(module)}
    standard["typing"] = {"Any", *standard.get("typing", ())}
    own = [module for module in types.modules if not _is_standard(module)]
    ours = {module: names for module, names in types.names.items() if not _is_standard(module)}
    ours["meridian.core.message"] = {"Message", *ours.get("meridian.core.message", ())}
    ours["meridian.core.node"] = {"Node"}
    if has_ports:
        ours["meridian.core.ports"] = {"PortSpec"}
    output = next(iter(outputs), None)
    return source(
        f'"""The node {class_name}."""',
        _old_spellings(standard["typing"]),
        "",
        "from __future__ import annotations",
        "",
        import_block(standard, [module for module in types.modules if _is_standard(module)]),
        "",
        import_block(ours),
        _own(own),
        "",
        "",
        f"class {class_name}(Node):",
        _class_docstring(policy),
        "",
        _not_a_test(class_name),
        f'    def __init__(self, name: str = "{snake_case(class_name)}") -> None:',
        _ports("inputs", inputs, types),
        _ports("outputs", outputs, types),
        "        super().__init__(name, inputs=inputs, outputs=outputs)",
        "",
        "    async def on_start(self) -> None:",
        '        """Prepare what it needs; called once, before its first message."""',
        "        super().on_start()",
        "",
        "    async def on_message(self, port: str, msg: Message[Any]) -> None:",
        '        """Handle one message that arrived at an input."""',
        _example(output),
        "",
        "    async def on_tick(self) -> None:",
        '        """Do what is due at regular intervals."""',
        "",
        "    def has_pending(self) -> bool:",
        '        """Say whether its ticks still have something to do: as long as they have, a run goes on."""',
        "        return False",
        "",
        "    async def on_stop(self) -> None:",
        '        """Give back what `on_start` took; called once, at the end."""',
        "        super().on_stop()",
    )


def _types(
    class_name: str, inputs: Mapping[str, str], outputs: Mapping[str, str], search: Iterable[str]
) -> PortTypes:
    # An input and an output may have one name; their types are found by text.
    found = resolve_types(inputs, search)
    further = resolve_types(outputs, search)
    found.texts.update(further.texts)
    found.values.update(further.values)
    found.modules |= further.modules
    for module, names in further.names.items():
        found.names.setdefault(module, set()).update(names)
    check_class_name(class_name, _IMPORTED | found.taken())
    return found


def _old_spellings(names: set[str]) -> list[str]:
    """Return a line that keeps ruff from replacing types that are written as they were given."""
    rules = {"Optional": ("UP045",), "Union": ("UP007",), "Any": (), "Literal": ()}
    found = sorted({rule for name in names for rule in rules.get(name, ("UP006", "UP035"))})
    return [f"# ruff: noqa: {', '.join(found)}"] if found else []


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _own(modules: list[str]) -> list[str]:
    return ["", *import_block({}, modules)] if modules else []


def _class_docstring(policy: str | None) -> list[str]:
    first = "Say here what it does, and what its ports carry."
    if policy is None:
        return [f'    """{first}"""']
    name = policy.lower()
    given = "policy=coalesce(merge)" if name == "coalesce" else f'policy="{name}"'
    return [
        f'    """{first}',
        "",
        f"    Default overflow policy is {policy}: connect its inputs with ``{given}``.",
        '    """',
    ]


def _not_a_test(class_name: str) -> list[str]:
    if not class_name.startswith("Test"):
        return []
    return ["    __test__ = False  # pytest would take it for a test, by its name", ""]


def _ports(side: str, ports: Mapping[str, str], types: PortTypes) -> list[str]:
    if not ports:
        return [f"        {side}: Any = {{}}"]
    return [
        f"        {side}: Any = {{",
        *(
            f'            "{name}": PortSpec(name="{name}", schema={types.texts[text]}),'
            for name, text in ports.items()
        ),
        "        }",
    ]


def _example(output: str | None) -> list[str]:
    if output is None:
        return ["        # Say here what to do with msg.payload."]
    return [
        "        # Say here what to do with msg.payload; sending waits while an edge is full:",
        f'        # await self.send("{output}", msg.with_payload(msg.payload))',
    ]


# ---- tests ---------------------------------------------------------------------------------------------------------


def generate_node_test_template(
    class_name: str, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> str:
    """Return the source text of a test of a generated node that stands beside it.

    Args:
        class_name: Of the node.
        inputs: Type by name of input.
        outputs: Type by name of output.

    Raises:
        ValueError: a name or a type can't be used.
    """
    return node_test(class_name, snake_case(class_name), inputs, outputs)


def generate_test_template(class_name: str, module_path: str) -> str:
    """Return the source text of a test of a generated node that doesn't know its ports.

    Args:
        class_name: Of the node.
        module_path: Dotted name of its module.

    Raises:
        ValueError: the name can't be used.
    """
    return node_test(class_name, module_path, None, None)


def node_test(
    class_name: str, module: str, inputs: Mapping[str, str] | None, outputs: Mapping[str, str] | None,
    search: Iterable[str] = (), *, is_own: bool = False,
) -> str:  # fmt: skip
    """Return the source text of a test of a node; ``None`` for ports that aren't known; see `module_under_test`."""
    types = _types(class_name, inputs or {}, outputs or {}, search)
    if inputs is None or outputs is None:
        ports = [
            "        for ports in (node.inputs, node.outputs):",
            "            assert all(spec.name == port for port, spec in ports.items())",
        ]
    else:
        ports = [
            f"        assert list(node.inputs) == {_names(inputs)}",
            f"        assert list(node.outputs) == {_names(outputs)}",
        ]
    return source(
        f'"""The node {class_name}, by itself."""',
        "# mypy: allow-untyped-defs, allow-untyped-calls",
        "",
        "import asyncio",
        "from functools import wraps",
        "",
        "import pytest",
        module_under_test("from meridian.testing import NodeTestHarness", module, class_name, is_own),
        "",
        "",
        "def in_event_loop(test):",
        '    """Run an asynchronous test to its end; no plugin is needed."""',
        "",
        "    @wraps(test)",
        "    def run(*args, **kwargs):",
        "        asyncio.run(test(*args, **kwargs))",
        "",
        "    return run",
        "",
        "",
        f"class Test{class_name}:",
        "    @pytest.fixture",
        "    def node(self):",
        f"        return {class_name}()",
        "",
        "    def test_node_creation(self, node):",
        f"        assert isinstance(node, {class_name})",
        f'        assert node.name == "{snake_case(class_name)}"',
        "",
        "    def test_port_definitions(self, node):",
        ports,
        "",
        "    def test_a_message_is_handled(self, node):",
        "        harness = NodeTestHarness(node)",
        _messages(inputs, types),
        "",
        "    @in_event_loop",
        "    async def test_lifecycle_hooks(self, node):",
        "        await node.on_start()",
        "        await node.on_tick()",
        "        await node.on_stop()",
    )


def _names(ports: Mapping[str, str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in ports) + "]"


def _messages(inputs: Mapping[str, str] | None, types: PortTypes) -> list[str]:
    if inputs is None:
        return [
            "        for port in node.inputs:",
            "            harness.send_message(port, None)",
        ]
    if not inputs:
        return ["        harness.trigger_tick()"]
    return [
        f'        harness.send_message("{port}", {_sample(types.values[text])})'
        for port, text in inputs.items()
    ]


def _sample(type_: Any) -> str:
    """Return the source text of a payload, ``None`` where nobody can know one."""
    made_of = get_origin(type_) or type_
    return _SAMPLES.get(made_of, "None") if isinstance(made_of, type) else "None"
