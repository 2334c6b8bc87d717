"""The deployed tables."""
