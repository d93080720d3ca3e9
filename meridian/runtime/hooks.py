"""Which hooks a node defines, and how they are to be called."""

from __future__ import annotations

from collections.abc import Awaitable
from inspect import iscoroutinefunction
from typing import Any

from meridian.core.node import Node


def hook_of(node: Node, public: str, protected: str) -> tuple[Any, bool]:
    """Return the hook to call, and whether its result is to be awaited.

    That is the public one where the class or the node itself overrides it, else the protected one: what the base of the
    public one adds, the run does for itself.
    """
    if getattr(type(node), public) is getattr(Node, public) and public not in vars(node):
        hook = getattr(node, protected)
        return hook, _is_async(hook)
    hook = getattr(node, public)
    if _is_async(hook):
        return hook, True
    if not _is_async(getattr(node, protected)):
        return hook, False

    async def awaited(
        *args: Any,
    ) -> None:  # it is plain, but may return what the protected one returned to it
        result = hook(*args)
        if isinstance(result, Awaitable):
            await result

    return awaited, True


def native_form(node: Node) -> tuple[Any, ...] | None:
    """Return what may be done instead of calling ``node``, if neither a subclass nor the node itself has other hooks."""
    cls = type(node)
    if "_native_form" not in vars(cls) or any(callable(getattr(cls, name, None)) for name in vars(node)):
        return None
    return node._native_form()


def ticks(node: Node) -> bool:
    """Say whether ``node`` defines a tick hook."""
    own, cls = vars(node), type(node)
    return (
        cls.on_tick is not Node.on_tick
        or cls._handle_tick is not Node._handle_tick
        or "on_tick" in own
        or "_handle_tick" in own
    )


def drains(node: Node) -> bool:
    """Say whether ``node`` may hold something back that `Node.on_drain` emits."""
    return type(node).on_drain is not Node.on_drain or "on_drain" in vars(node)


def _is_async(hook: Any) -> bool:
    return iscoroutinefunction(hook) or (callable(hook) and iscoroutinefunction(type(hook).__call__))
