"""Rules about the code of handlers: what holds the loop, loses errors, or shares what it shouldn't."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from queue import Queue
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from meridian.core.function import FnNode
from meridian.core.message import Message
from meridian.core.node import Node
from meridian.lint.model import Found, looks_for
from meridian.lint.source import MISSING, Code, Sources, function_of, is_none, own
from meridian.lint.view import HANDLING, Handler, View, is_ours

if TYPE_CHECKING:
    from types import FunctionType

DEPTH: Final = 3
"""How many calls deep functions of the user's own are followed."""

# ---- what holds the loop ---------------------------------------------------------------------------------------------

_VERBS: Final = ("get", "post", "put", "patch", "delete", "head", "options", "request")

_THREAD: Final = "await asyncio.to_thread(...), or a WorkerPool"
_PROCESS: Final = "await asyncio.create_subprocess_exec(...)"

_WAITS: Final[dict[str, str]] = {
    "time.sleep": "await asyncio.sleep(...)",
    "input": _THREAD,
    "os.system": _PROCESS,
    "posix.system": _PROCESS,
    **{f"subprocess.{name}": _PROCESS for name in ("run", "call", "check_call", "check_output", "getoutput")},
    "urllib.request.urlopen": _THREAD,
    **{
        f"{module}.{verb}": _THREAD
        for module in ("requests", "requests.api", "httpx", "httpx._api")
        for verb in _VERBS
    },
    **{
        f"{cls}.{verb}": _THREAD
        for cls in ("requests.sessions.Session", "httpx.Client", "httpx._client.Client")
        for verb in _VERBS
    },
    "socket.create_connection": "await asyncio.open_connection(...)",
    "socket.getaddrinfo": "await loop.getaddrinfo(...)",
    "socket.gethostbyname": "await loop.getaddrinfo(...)",
    **{f"socket.socket.{name}": "asyncio's streams" for name in ("accept", "connect", "recv", "sendall")},
    **{f"_thread.{name}.acquire": "asyncio.Lock" for name in ("lock", "RLock")},
    **{f"threading.{name}.wait": f"asyncio.{name}" for name in ("Event", "Condition", "Barrier")},
    "threading.Semaphore.acquire": "asyncio.Semaphore",
    "threading.Thread.join": _THREAD,
    **{f"queue.Queue.{name}": "asyncio.Queue, or an edge" for name in ("get", "put", "join")},
    "_queue.SimpleQueue.get": "asyncio.Queue, or an edge",
    "concurrent.futures._base.Future.result": "await asyncio.wrap_future(...)",
    "subprocess.Popen.wait": _PROCESS,
    "subprocess.Popen.communicate": _PROCESS,
}
"""Calls that keep the thread until something happens, and what does the same without."""

_READS: Final[dict[str, str]] = {
    "open": _THREAD,
    "io.open": _THREAD,
    "_io.open": _THREAD,
    "sqlite3.connect": _THREAD,
    "_sqlite3.connect": _THREAD,
    **{
        f"{module}.Path.{verb}_{what}": _THREAD
        for module in ("pathlib", "pathlib._local")  # the second in Python 3.13
        for verb in ("read", "write")
        for what in ("text", "bytes")
    },
}
"""Calls that take as long as the disk does: told where the function is asynchronous, and so is meant not to wait."""


@looks_for("blocking-call")
def _blocking_call(view: View) -> Iterator[Found]:
    sources = Sources()
    for handler in view.all_handlers():
        if not handler.on_loop:
            continue
        table = _WAITS | _READS if handler.code.is_async else _WAITS
        for code, is_called in _reached(handler.code, sources, ()):
            for call in code.calls():
                names = code.names(call.func) & table.keys()
                if not names or _at_once(code, call) or isinstance(code.parent(call), ast.Await):
                    continue
                name = min(names)
                through = f", which {handler.code.name}() calls," if is_called else ""
                yield Found(
                    f"{code.name}(){through} waits in {_short(name)}() and holds up the whole graph; instead: "
                    f"{table[name]}",
                    handler.node,
                    spot=code.spot(call),
                )


def _short(name: str) -> str:
    return name.replace("_thread.", "threading.").replace("concurrent.futures._base.", "").replace("_io.", "")


def _at_once(code: Code, call: ast.Call) -> bool:
    """Say whether a call is told not to wait, or has nothing to wait for."""
    if "time.sleep" in code.names(call.func):
        return bool(call.args) and isinstance(call.args[0], ast.Constant) and not call.args[0].value
    if isinstance(call.func, ast.Attribute) and call.func.attr == "put":
        held = code.value(call.func.value)
        if held is not MISSING and isinstance(held, Queue) and held.maxsize <= 0:
            return True
    told = [*call.args[:1], *(each.value for each in call.keywords if each.arg in ("block", "blocking"))]
    none = [each.value for each in call.keywords if each.arg == "timeout"]
    return any(isinstance(each, ast.Constant) and each.value is False for each in told) or any(
        isinstance(each, ast.Constant) and each.value == 0 for each in none
    )


def _reached(code: Code, sources: Sources, way: tuple[FunctionType, ...]) -> Iterator[tuple[Code, bool]]:
    """Yield a function, and those of the user's own that it calls itself, some calls deep."""
    yield code, bool(way)
    if len(way) >= DEPTH:
        return
    way = (*way, code.function)
    home = code.function.__module__.partition(".")[0]
    for call in code.calls():
        value = code.value(call.func)
        function = None if value is MISSING else function_of(value)
        if (
            function is None
            or function in way
            or is_ours(function)
            or str(function.__module__).partition(".")[0] != home
        ):
            continue
        found = sources.definition(function)
        if found is None or _is_lazy(found[1]) != isinstance(code.parent(call), ast.Await):
            continue
        owner = code.value(call.func.value) if isinstance(call.func, ast.Attribute) else None
        owner = None if owner is MISSING or isinstance(owner, (ModuleType, type)) else owner
        yield from _reached(Code(function, *found, owner), sources, way)


def _is_lazy(tree: ast.AST) -> bool:
    return isinstance(tree, ast.AsyncFunctionDef)


@looks_for("lock-across-await")
def _lock_across_await(view: View) -> Iterator[Found]:
    locks = {"_thread.lock", "_thread.RLock", "threading.Condition", "threading.Semaphore"}
    for handler in view.all_handlers():
        code = handler.code
        for each in code.own():
            if not isinstance(each, ast.With) or not code.is_async:
                continue
            held = [item for item in each.items if _classes(code.value(item.context_expr)) & locks]
            if held and any(isinstance(inner, ast.Await) for inner in own(each.body)):
                yield Found(
                    f"{code.name}() waits while it holds a lock of threads",
                    handler.node,
                    spot=code.spot(each),
                )


def _classes(value: Any) -> set[str]:
    return (
        set()
        if value is MISSING
        else {f"{each.__module__}.{each.__qualname__}" for each in type(value).__mro__}
    )


@looks_for("loop-in-handler")
def _loop_in_handler(view: View) -> Iterator[Found]:
    wrong = {"asyncio.run", "asyncio.runners.run", "asyncio.new_event_loop", "asyncio.events.new_event_loop"}
    for handler in view.all_handlers():
        if not handler.on_loop:
            continue
        for call in handler.code.calls():
            method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if method in ("run_until_complete", "run_forever") or handler.code.names(call.func) & wrong:
                yield Found(
                    f"{handler.code.name}() starts an event loop, but runs in one already",
                    handler.node,
                    spot=handler.code.spot(call),
                )


# ---- what is forgotten -----------------------------------------------------------------------------------------------


def _statements(handler: Handler) -> Iterator[tuple[ast.Call, set[str]]]:
    """Yield the calls whose results are thrown away, and the names of what they call."""
    for each in handler.code.own():
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Call):
            yield each.value, handler.code.names(each.value.func)


@looks_for("unawaited")
def _unawaited(view: View) -> Iterator[Found]:
    known = {"asyncio.sleep", "asyncio.to_thread", "asyncio.wait_for"}  # imported in the function itself
    for handler in view.all_handlers():
        code = handler.code
        for call, names in _statements(handler):
            value = code.value(call.func)
            function = None if value is MISSING else function_of(value)
            is_coroutine = function is not None and bool(function.__code__.co_flags & 0x80)  # CO_COROUTINE
            if is_coroutine or names & known:
                yield Found(
                    f"{code.name}() calls {ast.unparse(call.func)}() without await, so it never runs",
                    handler.node,
                    spot=code.spot(call),
                )


@looks_for("dropped-task")
def _dropped_task(view: View) -> Iterator[Found]:
    known = {
        f"{module}.{name}"
        for module in ("asyncio", "asyncio.tasks")
        for name in ("create_task", "ensure_future")
    }
    for handler in view.all_handlers():
        for call, names in _statements(handler):
            if names & known or _is_loops(handler.code, call.func):
                yield Found(
                    f"{handler.code.name}() starts a task that nobody keeps",
                    handler.node,
                    spot=handler.code.spot(call),
                )


def _is_loops(code: Code, func: ast.expr) -> bool:
    """Say whether it is ``create_task`` of a loop; of a task group it is kept."""
    if not (isinstance(func, ast.Attribute) and func.attr == "create_task"):
        return False
    made = func.value
    return isinstance(made, ast.Call) and bool(
        code.names(made.func)
        & {"asyncio.get_running_loop", "_asyncio.get_running_loop", "asyncio.get_event_loop"}
    )


@looks_for("async-without-await")
def _async_without_await(view: View) -> Iterator[Found]:
    waits = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield)
    for handler in view.all_handlers():
        code = handler.code
        if not code.is_async or handler.kind not in (*HANDLING, "function"):
            continue
        inside = code.own()
        trivial = all(isinstance(each, (ast.Expr, ast.Constant, ast.Pass, ast.Return)) for each in inside)
        waiting = any(
            isinstance(each, waits) or (isinstance(each, ast.comprehension) and each.is_async)
            for each in inside
        )
        # One that blocks ought to be async: another rule tells it to wait.
        blocking = any(code.names(call.func) & (_WAITS.keys() | _READS.keys()) for call in code.calls())
        if not (trivial or waiting or blocking):
            yield Found(f"{code.name}() is async and never waits", handler.node, spot=code.spot())


@looks_for("ignored-return")
def _ignored_return(view: View) -> Iterator[Found]:
    for handler in view.all_handlers():
        if handler.kind not in HANDLING:
            continue
        code = handler.code
        for each in code.own():
            if isinstance(each, (ast.Yield, ast.YieldFrom)):
                yield Found(
                    f"{code.name}() is a hook and yields, so nothing of it ever runs",
                    handler.node,
                    spot=code.spot(each),
                )
                break
            if (
                isinstance(each, ast.Return)
                and isinstance(each.value, ast.Call)
                and _is_message(code, each.value)
            ):
                yield Found(
                    f"{code.name}() is a hook and returns a message, which nobody sends",
                    handler.node,
                    spot=code.spot(each),
                )


def _is_message(code: Code, call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute) and call.func.attr == "with_payload":
        return True
    return code.value(call.func) is Message


@looks_for("shadowed-hook")
def _shadowed_hook(view: View) -> Iterator[Found]:
    for i, (name, node) in enumerate(view.plan.nodes):
        if is_ours(type(node)):
            continue
        hooks = {handler.kind: handler.code for handler in view.handlers[i]}
        for public, protected in (("on_message", "_handle_message"), ("on_tick", "_handle_tick")):
            # A subclass that replaces what its base does is right to do so.
            classes = [cls for cls in type(node).__mro__ if not is_ours(cls)]
            together = any(public in vars(cls) and protected in vars(cls) for cls in classes)
            if not (together and public in hooks and protected in hooks):
                continue
            passes = any(
                isinstance(each, ast.Attribute) and each.attr in (public, protected)
                for each in hooks[public].own()
            )
            if not passes:
                yield Found(
                    f"node {name!r} defines {public}() and {protected}(): the second is never called",
                    i,
                    spot=hooks[protected].spot(),
                )


# ---- what is swallowed -----------------------------------------------------------------------------------------------

_ALL: Final = {"Exception", "BaseException"}
_CANCEL: Final = {"BaseException", "asyncio.exceptions.CancelledError", "asyncio.CancelledError"}


def _caught(code: Code, handler: ast.ExceptHandler) -> set[str]:
    """Return the names of what is caught; a bare except catches all."""
    if handler.type is None:
        return {"BaseException"}
    parts = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {name for part in parts for name in code.names(part)}


@looks_for("swallowed-error")
def _swallowed_error(view: View) -> Iterator[Found]:
    for handler in view.all_handlers():
        if not (handler.on_loop or handler.kind == "worker"):
            continue  # where a node is stopped, what fails may well be of no interest
        code = handler.code
        for each in code.own():
            if (
                isinstance(each, ast.ExceptHandler)
                and _caught(code, each) & _ALL
                and _does_nothing(each.body)
            ):
                said = "catches every error and does nothing about it"
            elif isinstance(each, ast.With) and any(
                _suppresses(code, item.context_expr) for item in each.items
            ):
                said = "suppresses every error"
            else:
                continue
            yield Found(f"{code.name}() {said}", handler.node, spot=code.spot(each))


def _does_nothing(body: list[ast.stmt]) -> bool:
    return all(
        isinstance(each, (ast.Pass, ast.Continue))
        or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        or (isinstance(each, ast.Return) and is_none(each.value))
        for each in body
    )


def _suppresses(code: Code, call: ast.expr) -> bool:
    return (
        isinstance(call, ast.Call)
        and "contextlib.suppress" in code.names(call.func)
        and any(_ALL & code.names(each) for each in call.args)
    )


@looks_for("swallowed-cancel")
def _swallowed_cancel(view: View) -> Iterator[Found]:
    for handler in view.all_handlers():
        code = handler.code
        if not code.is_async:
            continue
        stopped = {
            ast.unparse(call.func.value)
            for call in code.calls()
            if isinstance(call.func, ast.Attribute) and call.func.attr == "cancel"
        }
        for each in code.own():
            if not isinstance(each, ast.Try):
                continue
            waits = [inner for inner in own(each.body) if isinstance(inner, ast.Await)]
            if not waits or all(ast.unparse(wait.value) in stopped for wait in waits):
                continue
            # The first clause that catches it is the one that counts.
            catching = (clause for clause in each.handlers if _caught(code, clause) & _CANCEL)
            clause = next(catching, None)
            if clause is not None and not any(isinstance(inner, ast.Raise) for inner in own(clause.body)):
                yield Found(
                    f"{code.name}() catches its own cancellation and goes on",
                    handler.node,
                    spot=code.spot(clause),
                )


# ---- what is shared --------------------------------------------------------------------------------------------------

_MUTATORS: Final = {
    *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft"),
    *("remove", "reverse", "setdefault", "sort", "update"),
}


@looks_for("shared-payload")
def _shared_payload(view: View) -> Iterator[Found]:
    for handler in view.all_handlers():
        if not handler.on_loop or handler.kind == "source":
            continue
        node = view.plan.nodes[handler.node].node
        spot = _mutation(handler, isinstance(node, FnNode), node)
        if spot is None:
            continue
        for edge in view.into[handler.node]:
            siblings = [
                view.name(each.target)
                for each in view.out_of[edge.source]
                if each.port == edge.port and each.target != edge.target
            ]
            if siblings:
                yield Found(
                    f"{handler.code.name}() changes a payload that {', '.join(map(repr, siblings[:3]))} gets, too",
                    handler.node,
                    edge.id,
                    handler.code.spot(spot),
                )
                break


def _mutation(handler: Handler, function_node: bool, node: Any) -> ast.AST | None:
    """Return where a handler changes the payload that it got."""
    payload, message = handler.payload(function_node)
    if function_node and node.function.wants_message:
        payload, message = None, payload
    code = handler.code
    aliases = {payload} - {None}
    assigned = {
        each.id
        for each in code.own()
        if isinstance(each, ast.Name) and isinstance(each.ctx, (ast.Store, ast.Del))
    }
    for each in code.own():
        if isinstance(each, ast.Assign) and _is_payload_of(each.value, message):
            names = [target.id for target in each.targets if isinstance(target, ast.Name)]
            aliases.update(names)
            assigned -= {name for name in names if _times_assigned(code, name) == 1}
    aliases -= assigned

    def is_it(expression: ast.expr) -> bool:
        return (isinstance(expression, ast.Name) and expression.id in aliases) or _is_payload_of(
            expression, message
        )

    for each in code.own():
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute):
            if each.func.attr in _MUTATORS and is_it(each.func.value):
                return each
        elif (
            isinstance(each, (ast.Subscript, ast.Attribute))
            and isinstance(each.ctx, (ast.Store, ast.Del))
            and is_it(each.value)
        ):
            return each
    return None


def _times_assigned(code: Code, name: str) -> int:
    return sum(
        isinstance(each, ast.Name) and each.id == name and isinstance(each.ctx, (ast.Store, ast.Del))
        for each in code.own()
    )


def _is_payload_of(expression: ast.expr, message: str | None) -> bool:
    return (
        message is not None
        and isinstance(expression, ast.Attribute)
        and expression.attr == "payload"
        and isinstance(expression.value, ast.Name)
        and expression.value.id == message
    )


@looks_for("shared-class-state")
def _shared_class_state(view: View) -> Iterator[Found]:
    for i, (name, node) in enumerate(view.plan.nodes):
        if is_ours(type(node)) or not view.handlers[i]:
            continue
        for cls in type(node).__mro__:
            if is_ours(cls) or cls is object:
                continue
            shared = {
                key
                for key, value in vars(cls).items()
                if isinstance(value, (list, dict, set, bytearray))
                and key not in vars(node)
                and not key.startswith("__")
            }
            for handler in view.handlers[i]:
                found = _changes(handler.code, shared) if shared else None
                if found is not None:
                    yield Found(
                        f"{handler.code.name}() of node {name!r} changes {found[0]!r}, which belongs to the class "
                        f"{cls.__name__} and so to all its nodes",
                        i,
                        spot=handler.code.spot(found[1]),
                    )
                    break


def _changes(code: Code, names: set[str]) -> tuple[str, ast.AST] | None:
    """Return which of ``self``'s attributes a method changes in place, and where."""
    me = code.parameters[:1]

    def attribute(expression: ast.expr) -> str | None:
        is_mine = (
            isinstance(expression, ast.Attribute)
            and isinstance(expression.value, ast.Name)
            and (expression.value.id,) == me
        )
        return expression.attr if is_mine and isinstance(expression, ast.Attribute) else None

    for each in code.own():
        place: ast.expr | None = None
        if (
            isinstance(each, ast.Call)
            and isinstance(each.func, ast.Attribute)
            and each.func.attr in _MUTATORS
        ):
            place = each.func.value
        elif isinstance(each, ast.Subscript) and isinstance(each.ctx, (ast.Store, ast.Del)):
            place = each.value
        name = None if place is None else attribute(place)
        if name is not None and name in names:
            return name, each
    return None


@looks_for("racing-state")
def _racing_state(view: View) -> Iterator[Found]:
    for handler in view.all_handlers():
        node = view.plan.nodes[handler.node].node
        if not isinstance(node, FnNode) or node.function.concurrency == 1:
            continue
        code = handler.code
        for each in code.own():
            if isinstance(each, (ast.Global, ast.Nonlocal)):
                names = ", ".join(map(repr, each.names))
                yield Found(
                    f"{code.name}() works on {node.function.concurrency} messages at a time and assigns {names}, which "
                    "they share",
                    handler.node,
                    spot=code.spot(each),
                )


@looks_for("thread-emit")
def _thread_emit(view: View) -> Iterator[Found]:
    for handler in view.all_handlers():
        if handler.code.owner is None:
            continue
        for call in handler.code.calls():
            for given in _for_threads(handler.code, call):
                spot = _emits(handler.code, given)
                if spot is not None:
                    yield Found(
                        f"{handler.code.name}() hands a thread something that emits",
                        handler.node,
                        spot=spot,
                    )


def _for_threads(code: Code, call: ast.Call) -> Iterator[ast.expr]:
    """Yield what a call lets run in another thread."""
    names = code.names(call.func)
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if names & {"threading.Thread", "threading.Timer"}:
        yield from (each.value for each in call.keywords if each.arg in ("target", "function"))
        yield from call.args[1:2]
    elif names & {"asyncio.to_thread", "asyncio.threads.to_thread"} or method == "submit":
        yield from call.args[:1]
    elif method == "run_in_executor":
        yield from call.args[1:2]


def _emits(code: Code, given: ast.expr) -> Any:
    """Return where something emits that is a method, a lambda, or a function defined here."""
    if isinstance(given, ast.Lambda):
        return next((code.spot(each) for each in own([given.body]) if _is_emit(each)), None)
    if isinstance(given, ast.Name):
        for each in ast.walk(code.tree):
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) and each.name == given.id:
                return next((code.spot(inner) for inner in own(each.body) if _is_emit(inner)), None)
    value = code.value(given)
    function = None if value is MISSING else function_of(value)
    if function is Node.emit:
        return code.spot(given)
    found = None if function is None or is_ours(function) else Sources().definition(function)
    if found is None or function is None:
        return None
    inner = Code(function, *found, code.owner)
    return next((inner.spot(each) for each in inner.own() if _is_emit(each)), None)


def _is_emit(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "emit"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "self"
    )


@looks_for("print-in-handler")
def _print_in_handler(view: View) -> Iterator[Found]:
    for handler in view.all_handlers():
        if not handler.on_loop:
            continue
        for call in handler.code.calls():
            if "print" in handler.code.names(call.func):
                yield Found(f"{handler.code.name}() prints", handler.node, spot=handler.code.spot(call))
                break
