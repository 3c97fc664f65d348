"""tfedge: BERT-like Keras encoders on small boards, as full-integer TFLite models."""

__version__ = "0.1.0"
