"""How fast is it: the workloads W1 to W6, the hand-written pipelines they are measured against, and the gates.

::

    shape        what the workloads are: sizes, stopwatch, checksums
    workloads    each of them in Meridian, through its public API
    baseline     each of them by hand, on asyncio.Queue
    verdict      from ratios to pass, fail or inconclusive
    gates        measures P1 to P12 and prints the table (`make bench`)
    benchmarks/  the same workloads for asv, for history over commits

Ratios are the result. Absolute figures tell about the machine and the minute, and serve for orientation only.
"""
