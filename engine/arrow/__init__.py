"""Tables as users give them, pandas' or pyarrow's, as Arrow arrays and as Python values.

May import: slicing and the ground floor; needs numpy, pandas and pyarrow alone.
Start reading: `columns` (a table's columns as arrays), then `values` (an array's Python values).
`collected` brings what crosses from Spark as structs into the form that a collected row has,
`numbers` columns into what models read.
"""
