"""Many questions about one column of texts, answered in one pass over its bytes.

May import: nothing of the engine but plain mode.
Start reading: `patterns` (the questions), then `text` (a batch's bytes) and `scan` (the pass).
`regex` reads a pattern, `dialect` writes it for RE2, `windows` and `methods` decide it.
"""
