"""Hugging Face configuration -> functional Keras model; weights in and out by tensor name."""
