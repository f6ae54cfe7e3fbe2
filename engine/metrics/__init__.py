"""Slice metrics: mergeable states, pure formulas, and the scan that computes them."""
