"""``meridian nodes``: what nodes there are, and how each is used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TextIO

from rich.text import Text

from meridian.cli.codes import Code, CommandError
from meridian.cli.streams import answer, write_json
from meridian.cli.tables import Column, console_for, print_table
from meridian.nodes.catalogue import NodeEntry, Parameter, catalogue, find, schema, schemas, search


def nodes(name: str | None, words: str | None, *, as_json: bool, as_schema: bool) -> Code:
    """Show all nodes, those that some words are about, or one; return the exit code."""
    return answer(None, as_json or as_schema, lambda out: _show(name, words, as_json, as_schema, out))


def _show(name: str | None, words: str | None, as_json: bool, as_schema: bool, out: TextIO) -> Code:
    if as_json and as_schema:
        raise CommandError("--json and --schema are two different answers: give one of them")
    if words is not None and (name is not None or as_schema):
        raise CommandError("--search shows several nodes in short: leave NAME and --schema out")
    entries = catalogue() if words is None else _search(words)
    entry = None if name is None else _find(name)
    if as_schema:
        wanted: dict[str, Any] = schemas() if entry is None else schema(entry)
        out.write(json.dumps(wanted, indent=2) + "\n")
    elif as_json:
        content = {"nodes": [each.as_dict() for each in entries]} if entry is None else entry.as_dict()
        write_json(out, None, content)
    elif entry is None:
        _table(entries)
    else:
        _details(entry)
    return Code.OK


def _find(name: str) -> NodeEntry:
    try:
        return find(name)
    except KeyError as error:
        raise CommandError(str(error.args[0])) from None


def _search(words: str) -> tuple[NodeEntry, ...]:
    found = search(words)
    if not found:
        categories = ", ".join(dict.fromkeys(entry.category for entry in catalogue()))
        raise CommandError(f"no node is about {words!r}: try fewer words, or a category: {categories}")
    return found


def _table(entries: Sequence[NodeEntry]) -> None:
    console = console_for("stdout")
    columns = [
        Column("Node", [entry.name for entry in entries]),
        Column("Category", [entry.category for entry in entries]),
        Column("What it does", [plain(entry.summary) for entry in entries]),
    ]
    print_table(console, columns)


def _details(entry: NodeEntry) -> None:
    console = console_for("stdout")

    def line(*parts: str | tuple[str, str]) -> None:
        console.print(Text.assemble(*parts), soft_wrap=True)

    line((entry.name, "bold"), f" ({entry.module})")
    line(plain(entry.summary))
    if entry.description:
        line("\n" + plain(entry.description))
    line()
    line(("Inputs   ", "bold"), _ports(entry.inputs))
    line(("Outputs  ", "bold"), _ports(entry.outputs))
    line()
    parameters = entry.parameters
    columns = [
        Column("Parameter", [each.name for each in parameters]),
        Column("Type", [each.type for each in parameters]),
        Column("Default", [_default(each) for each in parameters]),
        Column("Meaning", [plain(each.description) for each in parameters]),
    ]
    print_table(console, columns)
    if entry.example:
        line()
        line(("Example", "bold"))
        line(entry.example.rstrip("\n"))


def _default(parameter: Parameter) -> str:
    return "(needed)" if parameter.required else json.dumps(parameter.default, ensure_ascii=False)


def _ports(ports: tuple[str, ...]) -> str:
    said = [f"those in {each.strip('{}')}" if each.startswith("{") else each for each in ports]
    return ", ".join(said) or "none"


def plain(text: str) -> str:
    """Return text of a docstring without its marks."""
    return text.replace("`", "")
