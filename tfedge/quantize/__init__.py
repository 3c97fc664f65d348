"""A float model and calibration text -> a graph with the ranges of its integers in it."""
