"""Other runtimes that tfedge is compared with, run by a Python of their own (`make .venv-bench/.done`).

Of tfedge these modules import only `tfedge.runtime`; torch, transformers and ONNX Runtime are theirs.
"""
