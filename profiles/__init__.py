"""Where does the time go: the scenarios of `stress/` under py-spy, as flame graphs, compared with the last run.

::

    folded       stacks and how often each was seen: reading, tidying, self time
    spy          runs a program under py-spy, and asks first whether that is permitted
    checks       is it a profile at all: what is found wanting is not kept
    flame        the picture of folded stacks
    compare      self time before and after, with what chance alone may do to it
    record       what is recorded, in which order, within how much time
    report       the folder's index.html

`make profile` records a selection; `python -m profiles record --help` has the rest. Recordings go to build/profiles/.
"""
