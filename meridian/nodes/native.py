"""Forms: what nodes say about themselves to an engine that can do their work without calling them.

A form is a tuple: its kind, the inputs that it is about, the output, and what the kind needs besides. An engine that
doesn't know a kind, or meets a message out of the ordinary, calls the node.

* ``pass``: every message leaves as it came.
* ``filter``, with a test: DATA leaves if the test of its payload holds true, everything else as it came.
* ``route``, with a rule, the default output or ``None``, and the list of outputs, which may grow: DATA leaves on the
  output that the rule names.
* ``throttle``, with a bucket and a deque: DATA leaves while there are tokens and the deque is empty.
* ``count``, with the place of each key, the sums, and how often something was added since they were told.
* ``sample``, with a source of chance, whether one of the run goes before it, and a probability.
* ``batch``, with a size, the list of what is held, an alarm, and how long it may be held, in microseconds or ``None``.

A test or a rule is ``("types", …)`` with types, or pairs of a type and an output; ``("field", name)``; or ``("call",
function)`` with a function that `is_plain`.

Numbers that change with every message are in arrays, as native code can share those.
"""

from __future__ import annotations

from operator import attrgetter, itemgetter
from types import BuiltinMethodType, MethodDescriptorType
from typing import Any, Final

_LOOKUPS: Final = {"__getitem__", "__contains__", "get"}
_CONTAINERS: Final = {dict, set, frozenset}


def is_plain(function: Any) -> bool:
    """Say whether ``function`` is no Python code, looks at its argument and changes nothing.

    Such are ``itemgetter`` and ``attrgetter``, looking something up in a dict or a set (``ports.get``,
    ``known.__contains__``), tests of strings (``str.isdigit``), ``bool``, and ``int.__instancecheck__``.
    """
    if function is bool or type(function) in (itemgetter, attrgetter):
        return True
    if type(function) is MethodDescriptorType:
        return function.__objclass__ is str and function.__name__.startswith("is")
    if type(function) is not BuiltinMethodType:
        return False
    owner, name = function.__self__, function.__name__
    if type(owner) in _CONTAINERS:
        return name in _LOOKUPS
    return type(owner) is type and name == "__instancecheck__"
