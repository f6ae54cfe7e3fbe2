"""One table of operations: what each is called, what Python does, and what it costs.

May import: errors and the standard library.
Start reading: `OPERATIONS`, a row each, in `operations`.
Lifting reads from it how source writes an operation, evaluation what it means, tiers its cost.
"""
