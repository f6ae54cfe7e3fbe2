"""Slicing functions, one file per domain; no I/O."""
