"""How fast is it: the workloads W1 to W6, the hand-written pipelines they are measured against, and the gates.

::

    shape        what the workloads are: sizes, stopwatch, checksums
    workloads    each of them in Meridian, through its public API
    operations   single operations in a loop: edges, the ready queue, a slice, validators, redaction
    baseline     each of them by hand, on asyncio.Queue
    verdict      from ratios to pass, fail or inconclusive
    engines      the same workload on both engines, each in a process of its own, in turns
    probe        what a chain costs in C, where somebody has that probe
    gates        measures P1 to P12, R1 to R5 and R8, and prints the table (`make bench`)
    slo          the service levels: latencies and throughput of both engines
    peers/       beside pipelines by hand, 1.2.0 and other packages (`make bench-peers`)
    record       what a measurement says about itself, and the records that the documentation quotes
    watched      what lanes I and R measure, and in which modes of metrics
    trees        the package of another checkout, or with edits, for processes that measure it
    instructions lane I: how many instructions an operation takes
    paired       lane R: processor time over that of another checkout
    overhead     the budget of metrics, on both lanes (`make budget`)
    compare      this checkout beside another commit, on both lanes (`make compare`)
    planted      regressions that the lanes have to find
    benchmarks/  the same workloads for asv, for history over commits
    history      runs asv over commits and counts what came out (`make asv`); with wheels, once, tally, page

Ratios are the result. Absolute figures tell about the machine and the minute, and serve for orientation only.
"""
