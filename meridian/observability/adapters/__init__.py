"""The numbers of runs for other systems; one module per backend, which imports its library at use.

::

    catalogue       which metrics there are: names, kinds, units, labels; and the reader that takes one look for all of them
    prometheus      a collector for prometheus-client, and an endpoint to scrape
    json            the same numbers as one object, for those who have neither

They stand on `meridian.introspect` and on what the program's own metrics hold: a run doesn't know of them.
"""
