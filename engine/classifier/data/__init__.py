"""Rows as tensors: data sets of fields and labels, and the loaders that cut batches.

May import: masks' codes and the ground floor.
Start reading: `dataset` (`DictDataset` and `DictDataLoader`).
`sparse` keeps rows of mostly zeros as what is not zero.
"""
