"""Several commands as one recipe: which stages it has, which of them have to run, and running those."""
