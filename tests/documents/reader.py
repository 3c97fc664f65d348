"""A folder with what a reader of the documents has: models, checkpoints, texts and images, all toys."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import toy_folders
import toy_images
import toys
from blocks import ROOT, Block
from stand_ins import WHEEL, write_programs

TIMEOUT_S = 900  # of a block that converts or trains
QUICK_S = 240  # of any other, such as one that somebody forgot to mark
# Before the Python of a document: what its reader brings.
BROUGHT = {"docs/vision.md": "import numpy; frame = numpy.zeros((24, 24, 3), 'uint8')"}
# Models on the board -> which of `tests/toys.py`.
MODELS = {
    "tinybert_int8.tflite": "int8",
    "saved_models/tinybert/tinybert_int8.tflite": "int8",
    "minilm.tflite": "embedder",
    "minilm_int8.tflite": "embedder",
    "my-tagger_int8.tflite": "tagger",
    "qa.tflite": "reader",
    "mlm.tflite": "filler",
    "intents_int8.tflite": "classifier",
    "zh_int8.tflite": "classifier",
}
# Checkpoints -> architecture, task, labels. All but the last are BERTs.
CHECKPOINTS = {
    "tinybert": ("bert", "text-classification", toys.LABELS),
    "my-model": ("bert", "text-classification", toys.LABELS),
    "my-checkpoint": ("bert", "text-classification", toys.LABELS),
    "build/tinybert-train.tsv": ("bert", "text-classification", toys.LABELS),
    "minilm-trec": ("bert", "text-classification", toys.LABELS),
    "minilm": ("bert", "sentence-embedding", toys.LABELS),
    "my-reranker": ("bert", "text-classification", ("LABEL_0",)),
    "my-nli": ("bert", "text-classification", ("contradiction", "neutral", "entailment")),
    "my-tagger": ("bert", "token-classification", toys.ENTITIES),
    "my-squad-model": ("bert", "question-answering", toys.LABELS),
    "my-chinese-bert": ("bert", "sentence-embedding", toys.LABELS),
    "my-masked-model": ("bert", "fill-mask", ()),
    "my-xlm-roberta": ("xlm-roberta", "sentence-embedding", toys.LABELS),
    "all-mpnet-base-v2": ("mpnet", "sentence-embedding", toys.LABELS),
}
# Texts with labels -> how many.
TEXTS = {
    **dict.fromkeys(("train.tsv", "test.tsv", "my_texts.tsv", "my_dev.tsv", "my_test.tsv"), 24),
    **dict.fromkeys(("intents.tsv", "intents_dev.tsv"), 24),
    "dev.tsv": 240,
    "sst2/dev.tsv": 24,
    "trec/test.tsv": 24,
}
PHRASES = 400  # of four sentences each
CHINESE = {"好评": "这部电影很好看", "差评": "剧情太无聊了"}
MAILS = [{"id": 1, "text": "a good film"}, {"id": 2, "text": "a bad film"}]


def _write_texts(folder: Path) -> None:
    for name, count in TEXTS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        toy_folders.write_sentences(folder / name, count)
    plain = toy_folders.sentences(PHRASES)
    labels = plain.labels or []
    (folder / "my_texts.txt").write_text("".join(f"{text}\n" for text in plain.texts[:24]))
    with gzip.open(folder / "train_phrases.tsv.gz", "wt") as file:
        file.write("text\tlabel\n")
        for text, label in zip(plain.texts, labels, strict=True):
            file.write(f"{' '.join([text] * 4)}\t{label}\n")
    (folder / "reviews.csv").write_text(
        "review,stars\n"
        + "".join(f'"{text}",{1 + i % 5}\n' for i, text in enumerate(plain.texts[:40]))
    )
    kinds = CHECKPOINTS["my-nli"][2]
    for name in ("nli_train.csv", "nli_dev.csv"):
        rows = [f'"{text}","a film",{kinds[i % 3]}\n' for i, text in enumerate(plain.texts[:24])]
        (folder / name).write_text("premise,hypothesis,label\n" + "".join(rows))
    (folder / "pairs.tsv").write_text("Where is Ada?\tAda was born.\nWho?\tBob\n")


def _write_files_of_jobs(folder: Path) -> None:
    """What the pages in docs/jobs begin with."""
    words = [("ada", 1), ("was", 0), ("born", 0)]
    row = {"tokens": [word for word, _ in words], "labels": [toys.ENTITIES[i] for _, i in words]}
    for name in ("my_ner_train.jsonl", "my_ner_dev.jsonl"):
        (folder / name).write_text(f"{json.dumps(row)}\n" * 12)
    moods = [{"text": "a good film", "labels": ["joy", "love"]}, {"text": "a film", "labels": []}]
    pairs = [
        {"text": f"a {word} film", "text_pair": "a film", "score": score}
        for word, score in (("good", 4.5), ("bad", 1.5))
    ]
    products = [{"anchor": text, "positive": f"the {text} ."} for text in ("ada", "film", "good")]
    lists = [{"query": "ada ?", "positive": ["ada was born"], "negative": ["a film", "good"]}]
    files = {"emotions": moods, "relatedness": pairs, "products": products, "candidates": lists}
    for name, lines in files.items():
        content = "".join(f"{json.dumps(line)}\n" for line in lines * 8)
        (folder / f"{name}.jsonl").write_text(content)
    rows = "".join(f"{text}\t{label}\n" for label, text in CHINESE.items())
    for name in ("zh_train.tsv", "zh_dev.tsv"):
        (folder / name).write_text("text\tlabel\n" + rows * 8, encoding="utf-8")
    (folder / "zh_texts.txt").write_text("\n".join(CHINESE.values()), encoding="utf-8")
    (folder / "inbox").mkdir()
    for name in ("texts.txt", "inbox/monday.txt", "inbox/tuesday.txt"):
        (folder / name).write_text("a good film\na bad film\n")
    (folder / "mails.jsonl").write_text("".join(f"{json.dumps(mail)}\n" for mail in MAILS))
    (folder / "mails.csv").write_text(
        "id,text\n" + "".join(f"{mail['id']},{mail['text']}\n" for mail in MAILS)
    )


def _write_images(folder: Path) -> None:
    for seed, name in enumerate(("images", "images_dev", "images_test")):
        toy_images.write_images(folder / name, 18, seed)
    toy_images.write_images(folder / "camera", 3, 4, ".jpg")
    pictures = sorted((folder / "camera").rglob("*.jpg"))
    for index, path in enumerate(pictures):
        path.rename(folder / "camera" / f"{index}.jpg")
    shutil.copy(folder / "camera/0.jpg", folder / "photo.jpg")
    shutil.copy(next((folder / "images").rglob("*.png")), folder / "other.png")


def write_checkpoints(folder: Path) -> None:
    for name, (architecture, task, labels) in CHECKPOINTS.items():
        path = toy_folders.write_folder(
            folder / name,
            architecture,
            task,
            labels,
            max_position_embeddings=130,
            intermediate_size=256,  # of which enough can be removed to halve the cost
        )
        toy_folders.give_types(path)
    _learn_characters(folder / "my-chinese-bert/tokenizer.json")
    toy_images.write_folder(folder / "my-deit", "deit")


def _learn_characters(path: Path) -> None:
    """Gives a tokeniser the characters of `CHINESE` in place of its letters."""
    content = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    for letter, character in zip(
        toys.LETTERS, sorted(set("".join(CHINESE.values()))), strict=False
    ):
        vocabulary[character] = vocabulary.pop(letter)
    path.write_text(json.dumps(content), encoding="utf-8")


def _link_clone(folder: Path) -> None:
    for name in ("benchmarks", "examples", "setup.cfg", "tests", "tfedge"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv/bin").mkdir(parents=True)
    write_programs(folder / ".venv/bin")
    (folder / "edge").symlink_to(".venv")  # the board's environment
    (folder / WHEEL).touch()  # on the board, where it was copied to


def write_reader(folder: Path, toys_folder: Path, converted: Path) -> None:
    """Fills an empty folder.

    Args:
        toys_folder: that of the fixture `toys`.
        converted: a folder of .tflite files, which take the place of toys of the same name.
    """
    _link_clone(folder)
    _write_texts(folder)
    _write_files_of_jobs(folder)
    _write_images(folder)
    for name, toy in MODELS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(toys_folder / f"{toy}.tflite", folder / name)
    shutil.copytree(converted, folder, dirs_exist_ok=True)


def run(block: Block, folder: Path, before: str = "", timeout_s: float = TIMEOUT_S) -> None:
    """Runs a block in a folder of `write_reader`; fails with what it printed.

    Args:
        before: the Python of the same document up to here.
        timeout_s: seconds that it may take.
    """
    programs = folder / ".venv/bin"
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    if block.language == "python":
        command = [
            sys.executable,
            "-c",
            "\n".join([BROUGHT.get(block.page, ""), before, block.text]),
        ]
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, f"{block}\n{block.text}\n{done.stdout}\n{done.stderr}"
