"""Every table read, written, merged and versioned, and the session that does it.

May import: SQL text, plain mode and errors.
Start reading: `place` (where a table is), `tables` (reads and writes), `session` (Spark itself).
`delta_log`, `identity` and `lineage` tell whether a table is still the one that was read before;
`jvm` is the only file that Spark Connect can't run.
"""
