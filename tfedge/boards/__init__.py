"""Boards that ssh reaches: by what name, how, and what is put there."""
