"""What each metric is: the sums that it needs, and the figure that is made of them.

May import: the metrics' catalog and the ground floor; numpy alone.
Start reading: `states` (what is summed, what a family is), `families` (which there are).
`exact` sums floats so that no order of the rows changes a bit.
"""
