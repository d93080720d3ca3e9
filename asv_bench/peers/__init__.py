# req: X3
"""Meridian beside its peers: the same workloads through each of them, alternating in fresh processes (`make bench-peers`).

::

    contenders    who takes part, in which environment, and what each has and lacks
    environments  the virtual environments that those need, made on first use under build/
    program       in a fresh process: one workload through one contender, repeated, with its checksum verified
    rounds        who is measured when, and what came of it
    report        the table in Markdown, the plot
    meridian_, by_hand, anyio_streams, v1, reactivex_, streamz_, aiostream_, bytewax_
                  the workloads in each of them, as its own documentation shows its use

Modules are named after packages with an underscore behind, so that nobody takes one for the other.
"""
