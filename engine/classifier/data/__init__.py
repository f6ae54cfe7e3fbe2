"""Rows as tensors: data sets of fields and labels, and the loaders that cut batches.

May import: masks' frames and the ground floor.
Start reading: `dataset` (`DictDataset` and `DictDataLoader`; `SparseRows` are rows of mostly
zeros), then `labels`.
"""
