"""What pipelines of transformers answer for a checkpoint; runs where torch is installed.

python tests/models/answer_pairs.py FOLDER < asked.json
"""

from __future__ import annotations

import json
import sys

from transformers import pipeline

asked = json.load(sys.stdin)
options = {"model": sys.argv[1], "device": "cpu"}
classify = pipeline("text-classification", **options)
pairs = [{"text": text, "text_pair": second} for text, second in asked["pairs"]]
options = {"top_k": None, "truncation": True}
# Batches would pad; one by one is what is compared.
answers = {"pairs": [classify(pair, **options) for pair in pairs]}
choose = pipeline("zero-shot-classification", model=sys.argv[1], device="cpu")
answers["zero_shot"] = [
    choose(text, candidate_labels=asked["candidates"], multi_label=multi_label)
    for text in asked["texts"]
    for multi_label in (False, True)
]
json.dump(answers, sys.stdout)
