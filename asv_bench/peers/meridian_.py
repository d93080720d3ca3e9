"""The workloads in Meridian; ``MERIDIAN_ENGINE`` says on which engine."""

from asv_bench import workloads
from asv_bench.peers.flows import SPARSE_NODES, each_anew
from meridian.observability import configure

configure("ERROR")

FORMS = {
    "": {
        "W1": each_anew(workloads.chain),
        "W2": each_anew(workloads.fan),
        "W3": workloads.pings,
        "W4": lambda: workloads.sparse(SPARSE_NODES),
        "work": each_anew(lambda n: workloads.chain(n, "working")),
    }
}
