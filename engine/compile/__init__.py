"""Slicing functions to a MaskPlan; the only place that builds pandas and Arrow UDFs."""
