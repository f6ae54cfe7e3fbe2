"""Masks: applying a plan, the mask table's columns, coverage, and the appliers people know."""
