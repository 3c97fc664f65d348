"""A float model and its training data -> a float model that is better, or smaller."""
