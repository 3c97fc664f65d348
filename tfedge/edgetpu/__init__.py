"""What of a .tflite the Edge TPU runs: predicted by the published rules, compiled, compared."""
