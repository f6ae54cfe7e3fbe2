"""Slicing functions: what they are, how they are written and identified. No Spark here."""
