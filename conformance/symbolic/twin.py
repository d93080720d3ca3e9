"""An edge that is wrong about one item: what the kit has to find with CrossHair, and random search doesn't."""

from __future__ import annotations

from typing import Any, Final

from meridian_conformance.contract import Put
from meridian_conformance.reference import ReferenceBackend, ReferenceEdge

NUMBER: Final = 12_345


class ForgetfulEdge(ReferenceEdge):
    """Says that it took the one number, and doesn't keep it."""

    def put(self, item: Any) -> str:
        if isinstance(item, int) and item == NUMBER:
            return Put.OK
        return super().put(item)


class Backend(ReferenceBackend):
    """Opens edges that forget one number."""

    name = "twin"
    edge_type = ForgetfulEdge
