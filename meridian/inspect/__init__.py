"""The terminal inspector: what ``meridian top`` shows of a process, through `meridian.introspect` alone.

::

    reader      looks again and again, whatever becomes of the process; on a thread of its own
    history     what the last looks have shown, in bounded memory
    fold        subgraphs as boxes that unfold
    layout      where boxes and lines go
    drawing     boxes and lines in characters
    columns     the tables of nodes, edges and events
    summary     a run in one line
    words       numbers, shares and states as short texts

Textual comes with the extra ``tui``; all but ``app`` and what it is made of works without.
"""
