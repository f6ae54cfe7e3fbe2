"""Every table read, written, merged and versioned, and the session that does it.

May import: SQL text, plain mode and errors.
Start reading: `tables` (reads and writes), then `session` (how Spark is found and started).
`identity` and `lineage` tell whether a table is still the one that was read before.
"""
