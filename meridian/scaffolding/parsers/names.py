"""Names of classes, modules and packages."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Collection

_PASCAL_CASE = re.compile(r"[A-Z][A-Za-z0-9]*")


def snake_case(name: str) -> str:
    """Return ``name`` with an underscore before every capital but the first, in lower case.

    ``HTTPClient`` becomes ``h_t_t_p_client``, as in v1.
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def check_class_name(name: str, taken: Collection[str] = ()) -> None:
    """Check that a class of this name can be generated.

    Args:
        name: Of the class.
        taken: What its module imports.

    Raises:
        ValueError: not a PascalCase identifier, a keyword, or taken; or its module would be called like a keyword.
    """
    if not _PASCAL_CASE.fullmatch(name) or keyword.iskeyword(name):
        raise ValueError(f"{name!r} is not a PascalCase identifier: give a name such as 'OrderFilter'")
    module = snake_case(name)
    if keyword.iskeyword(module):
        raise ValueError(
            f"{name!r} would be written to {module}.py, and no module can be called {module!r}, which is a keyword: "
            f"give another name, such as '{name}Node'"
        )
    if name in taken:
        raise ValueError(f"{name!r} is a name that its module imports: give another one")


def package_parts(package: str) -> tuple[str, ...]:
    """Return the parts of a dotted package name.

    Raises:
        ValueError: a part is no identifier or is a keyword (so no part leads out of the folder that is written to), or
            the first one is a module of the standard library.
    """
    parts = tuple(package.split("."))
    for part in parts:
        if not part.isidentifier() or keyword.iskeyword(part):
            said = "a keyword" if keyword.iskeyword(part) else "no identifier"
            raise ValueError(
                f"package {package!r}: {part!r} is {said}; give identifiers with dots between, such as 'my_app.nodes'"
            )
    if parts[0] in sys.stdlib_module_names:
        raise ValueError(
            f"package {package!r}: {parts[0]!r} is a module of the standard library: give another name"
        )
    return parts
