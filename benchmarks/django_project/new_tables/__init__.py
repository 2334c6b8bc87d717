"""The new tables."""
