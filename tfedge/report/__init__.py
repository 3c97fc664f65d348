"""Puts what bench, inspect and counts measured onto one page."""
