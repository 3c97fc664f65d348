"""One conversion from end to end: what was asked for, the files that may answer it, and which ships."""
