"""Cost, accuracy, latency: of the artefact that ships, in the runtime that runs it."""
