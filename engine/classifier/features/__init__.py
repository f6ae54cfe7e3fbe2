"""Columns as numbers: fitted pipelines that travel in a checkpoint as JSON.

May import: classifier's settings and sparse rows, arrow and the ground floor.
Start reading: `features`, whose pipelines are fitted on a sample and applied by scoring.
"""
