"""The terminal inspector: what ``meridian top`` shows of a process, through `meridian.introspect` alone.

::

    reader      looks again and again, whatever becomes of the process; on a thread of its own
    program     which program a process runs
    history     what the last looks have shown, in bounded memory
    fold        subgraphs as boxes that unfold
    layout      where boxes and lines go
    drawing     boxes and lines in characters
    columns     the tables of nodes, edges and events
    summary     a run in two lines
    detail      all that is known of one node, edge, event or finding
    words       numbers, shares and states as short texts

    widgets     a table and a graph that draw only what is seen
    app         the application: what it shows, and which key does what

Textual comes with the extra ``tui``; all but the last two works without.
"""
