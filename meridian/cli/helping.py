"""``meridian help``: what a command says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from meridian.cli.codes import Code, CommandError
from meridian.cli.streams import answer


def help_of(root: Any, names: Sequence[str]) -> Code:
    """Show the help of the command that ``names`` lead to, from the context of the whole command line."""

    def body(out: Any) -> Code:
        context = root
        for name in names:
            there: dict[str, Any] = getattr(context.command, "commands", {})
            if name not in there:
                raise CommandError(_unknown(context.command_path, name, there))
            context = type(context)(there[name], info_name=name, parent=context)
        text = context.get_help()  # printed already where the help is made of tables
        if text:
            print(text, file=out)
        return Code.OK

    return answer(None, False, body)


def _unknown(path: str, name: str, there: dict[str, Any]) -> str:
    if not there:
        return f"{path!r} has no commands below it, so there is no {name!r}"
    near = get_close_matches(name, there, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(there)}"
    return f"{path!r} has no command {name!r}: {hint}"
