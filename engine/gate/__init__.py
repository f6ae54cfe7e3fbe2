"""Whether an evaluation is good enough: rules over figures, verdicts, and what tools read of them.

May import: report's sections, metrics and the ground floor; no Spark, no torch.
Start reading: `rules` (what may be asked), then `judge` (figures in, checks out).
`evidence` says how sure a check is, `nightly` watches rows that come, `outputs` writes files.
"""
