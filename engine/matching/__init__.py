"""Many questions about one column of texts, answered in one pass over its bytes.

May import: nothing of the engine but plain mode.
Start reading: `patterns` (what a batch is asked), then `text` (its bytes) and `scan` (the pass).
`regex` reads a pattern, `dialect` writes it for RE2, `windows` and `methods` decide it.
"""
