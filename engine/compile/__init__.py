"""Trees to what runs them: whole Arrow columns, SQL text for Spark, and which way is cheapest.

May import: lift, arrow, slicing, matching, ops and the ground floor.
Start reading: `tiers` (where a slice may run, and what that costs), then `program` and `catalyst`.
`vectors` has what each operation does to whole columns; `lists`, `texts` and `times` register what
it does to those of their kinds.
"""
