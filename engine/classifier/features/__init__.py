"""Columns as numbers: fitted pipelines that travel in a checkpoint as JSON.

May import: classifier's settings and sparse rows, arrow and the ground floor.
Start reading: `kinds` (`fit_features`, which picks one), then `text` and `tabular`.
A pipeline is fitted on a sample, and applied by training and scoring.
"""
