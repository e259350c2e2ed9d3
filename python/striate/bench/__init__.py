"""What `striate bench` measures: the machine, convolutions, other kernels and whole networks.

A subject's module yields rows: flat dictionaries with the same keys in every subject (see
`rows.Row`), so that one table, one JSON file and one script serve all of them.
"""
