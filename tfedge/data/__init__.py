"""Text files in, tokenised batches and calibration samples out."""
