"""What an executor does with a batch of rows; a driver does the same without Spark.

May import: compile and the rooms below it; needs numpy, pandas and pyarrow, and pyspark in `udf`.
Start reading: `kernel` (all slicing functions over one batch), then `udf` (the kernel in Spark).
`ship` brings users' code to executors, `faults` the rows that failed back to the user.
"""
