"""SQL predicates of project files, which are data: read, checked, and written anew for Spark.

May import: errors; knows no Spark.
Start reading: `predicate` (a text that may run), then `dialect` (how it is read), `functions` (what
it may call), `precedence` (what another parser could read otherwise) and `writing` (the SQL that
runs).
"""
