"""Puts the parts together: one run from one configuration."""
