"""What a conversion may be asked for: the modes, and the bits of weights."""

INTEGER_QUANTIZATIONS = ("int8", "int8-float-io")
# Integers where that keeps the accuracy, and floating point elsewhere.
MIXED_QUANTIZATIONS = ("mixed", "auto")
# Integers for weights alone; see `tfedge.tflite.weights`.
WEIGHT_QUANTIZATIONS = ("dynamic", "int4")
QUANTIZATIONS = (
    *INTEGER_QUANTIZATIONS,
    "int16x8",
    *MIXED_QUANTIZATIONS,
    *WEIGHT_QUANTIZATIONS,
    "float16",
    "float32",
)
# Of weights' values, see `tfedge.quantize.coarsen`.
LEAST_BITS, MOST_BITS = 4.0, 8.0
# Of operations whose precision can be chosen, see `tfedge.models.taps.SiteKind`.
KINDS = ("dense", "attention", "norm", "pooling")
