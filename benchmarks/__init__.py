"""Compares tfedge's models with other products on the same weights; see README.md in this folder."""
