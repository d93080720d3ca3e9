"""The workloads by hand on asyncio.Queue, one number or a list of 64 at a time."""

from asv_bench import baseline
from asv_bench.peers.flows import SPARSE_NODES, each_anew
from asv_bench.shape import work

FORMS = {
    "": {
        "W1": each_anew(baseline.chain),
        "W2": each_anew(baseline.fan),
        "W3": baseline.pings,
        "W4": lambda: baseline.sparse(SPARSE_NODES),
        "work": each_anew(lambda n: baseline.chain(n, work)),
    },
    "lists": {
        "W1": each_anew(baseline.batched),
        "W2": each_anew(baseline.batched_fan),
        "work": each_anew(lambda n: baseline.batched(n, work)),
    },
}
