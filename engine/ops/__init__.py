"""One table of operations: what each is called, what Python does, and what it costs.

May import: errors and the standard library.
Start reading: `operations.OPERATIONS`, one row each; `lift` reads from it how source writes an
operation, `slicing.evaluate` what it means, `compile` what it costs; whole columns and Spark have
forms of their own (`compile.vectors`, `compile.catalyst`), by the operation's name.
"""
