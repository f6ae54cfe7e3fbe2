"""Tables and pages that people read, made from frames of figures.

May import: metrics, masks and the ground floor; no Spark, no torch.
Start reading: `sections` (the tables, the same on the terminal and on the page).
`page` puts them into one HTML file, with `page_data` for its script and `summary`
in sentences; `sharing` decides what of rows and slices it may hold.
"""
