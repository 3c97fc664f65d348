"""Fine-tuning for every task that has labels: toys learn what data say, and answer it afterwards."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders
import toys
from records import Killed, Record, request, same_weights, weights

from tfedge import tasks
from tfedge.cli.options import training_data
from tfedge.data.hub import Data
from tfedge.errors import InputError
from tfedge.measure.checkpoint import checkpoint_answers
from tfedge.models.checkpoint import Checkpoint
from tfedge.runtime.tokenizer import TextEncoder
from tfedge.runtime.windows import PairEncoder
from tfedge.tasks import task_and_labels
from tfedge.tasks.base import Rows
from tfedge.tasks.columns import ColumnNames
from tfedge.tasks.guess import task_of
from tfedge.tasks.losses import cosent, in_batch_ranking
from tfedge.train.distil import DistillationLosses, distil
from tfedge.train.finetune import finetune
from tfedge.train.prune import prune
from tfedge.train.result import Trained
from tfedge.train.sparsity import PruningOptions
from tfedge.train.training import TrainingOptions

OPTIONS = TrainingOptions(epochs=60, batch_size=8, learning_rate=3e-3, max_length=16)
SLOW = TrainingOptions(steps=1, batch_size=8, learning_rate=1e-9, max_length=16)
PEOPLE = ("ada", "bob")
COLUMNS = ("text_column", "pair_column", "label_column")


def tagged_rows() -> list[dict[str, Any]]:
    """Who and what: a name is a person, a film a work of two words."""
    rows = []
    for number in range(24):
        name, word = PEOPLE[number % 2], ("good", "bad", "dull")[number % 3]
        tokens = [name, "is", word, "in", "the", "film"]
        tags = ["B-PER", "O", "O", "O", "B-WORK", "I-WORK"]
        if number % 4 == 3:
            tokens, tags = ["who", "was", word, "?"], ["O"] * 4
        rows.append({"tokens": tokens, "tags": tags})
    return rows


def multi_rows() -> list[dict[str, Any]]:
    rows = []
    for number in range(24):
        found = [name for bit, name in enumerate(("ada", "bob", "film")) if number >> bit & 1]
        rows.append({"text": " ".join(["is", *found, "?"]), "labels": found})
    return rows


def scored_rows() -> list[dict[str, Any]]:
    words = {"good": 4.5, "fine": 3.5, "dull": 1.5, "bad": 0.5}
    return [
        {"text": f"{who} {word}", "text_pair": "the film", "score": score}
        for who in (*PEOPLE, "who", "film", "where", "the")
        for word, score in words.items()
    ]


DATA = {
    "token-classification": tagged_rows,
    "text-multi-label": multi_rows,
    "text-regression": scored_rows,
}
LABELS = {
    "token-classification": ["O", "B-PER", "I-PER", "B-WORK", "I-WORK"],
    "text-multi-label": ["ada", "bob", "film"],
    "text-regression": ["score"],
}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path, task: str | None = None) -> tuple[str, Rows]:
    data = Data(str(path), "train", ColumnNames())
    found = task or task_of(data.table, data.columns)
    return found, tasks.find(found).read(data)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    folder = toy_folders.write_folder(tmp_path_factory.mktemp("toy"), small=True, **none)
    return toy_folders.give_types(folder)


def trained(source: Path, rows: Rows, task: str, output: Path, **changes: Any) -> Trained:
    record = changes.pop("record", Record())
    asked = request(source, rows, output, OPTIONS, record, evaluation=rows, task=task, **changes)
    return finetune(asked, tasks.find(task).new_labels(rows))


@pytest.mark.parametrize("task", DATA)
def test_learns_what_the_data_say(task: str, source: Path, tmp_path: Path) -> None:
    guessed, rows = read(write(tmp_path / "data.jsonl", DATA[task]()))
    assert guessed == task
    made = trained(source, rows, task, tmp_path / "out")
    known = tasks.find(task)
    assert (made.task, made.goal) == (task, known.goal(rows))
    assert made.figures is not None
    assert made.figures[made.goal] > 0.95
    expected = [name for name in LABELS[task] if name != "I-PER"]
    assert task_and_labels(Checkpoint(tmp_path / "out")) == (task, expected)
    # What `tfedge eval` measures is what training has told.
    answers = checkpoint_answers(tmp_path / "out", rows.items, max_length=16)
    truth = known.truth(rows, expected)
    assert truth is not None
    figures = known.metric(answers, truth, expected)
    for name, value in made.figures.items():
        assert figures[name] == pytest.approx(value, abs=1e-5), name


def test_scores_are_trained_where_asked(source: Path, tmp_path: Path) -> None:
    rows = [{**row, "score": row["score"] / 5} for row in scored_rows()]
    path = write(tmp_path / "data.jsonl", rows)
    task, read_rows = read(path, "text-scoring")
    made = trained(source, read_rows, task, tmp_path / "out")
    assert made.figures is not None
    assert made.figures["spearman"] > 0.9
    answers = checkpoint_answers(tmp_path / "out", read_rows.items[:4], max_length=16)
    assert [answer["score"] for answer in answers] == pytest.approx([0.9, 0.7, 0.3, 0.1], abs=0.15)
    above = read(write(tmp_path / "above.jsonl", scored_rows()), task)[1]
    with pytest.raises(InputError, match=r"a score is 4\.5; of text-scoring they are 0 to 1"):
        trained(source, above, task, tmp_path / "other")


def test_killed_run_resumes_to_the_same_model(source: Path, tmp_path: Path) -> None:
    """Aims of tokens are those of their texts after a break too."""
    task, rows = read(write(tmp_path / "data.jsonl", tagged_rows()))
    whole = trained(source, rows, task, tmp_path / "whole")
    with pytest.raises(Killed):
        trained(source, rows, task, tmp_path / "out", record=Record(kill_at=100))
    resumed = trained(source, rows, task, tmp_path / "out")
    assert same_weights(tmp_path / "out", tmp_path / "whole")
    assert resumed.figures == whole.figures


def test_numbers_keep_their_units(source: Path, tmp_path: Path) -> None:
    rows = [{**row, "score": 100 * row["score"] + 1000} for row in scored_rows()]
    task, found = read(write(tmp_path / "data.jsonl", rows), "text-regression")
    made = trained(source, found, task, tmp_path / "out")
    assert made.figures is not None
    assert made.figures["error"] < 40  # of 500


def test_all_the_same_teaches_nothing(source: Path, tmp_path: Path) -> None:
    rows = [{"tokens": ["ada", "is", "good"], "tags": ["O", "O", "O"]}] * 8
    task, found = read(write(tmp_path / "data.jsonl", rows))
    with pytest.raises(InputError, match="have the same labels; a model learns to tell"):
        trained(source, found, task, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_stand_at_the_first_pieces_of_words() -> None:
    task = tasks.find("token-classification")
    encoder = TextEncoder(toys.tokenizer_json(), 16)
    rows = Rows(["ada12 was born"], [[(0, "NAME"), (6, "O"), (10, "O")]], "x")
    sequences, aims = task.lessons(rows, encoder, ["O", "NAME"])
    tokens = [encoder.token(number) for number in sequences[0]]
    assert tokens == ["[CLS]", "ada", "##1", "##2", "was", "born", "[SEP]"]
    assert aims[0].tolist() == [-1, 1, -1, -1, 0, 0, -1]
    assert aims.dtype == np.int32


def test_a_head_of_numbers_is_trained_on(source: Path, tmp_path: Path) -> None:
    """What it answers before the first step that changes something is what it answered."""
    path = write(tmp_path / "data.jsonl", scored_rows())
    task, rows = read(path)
    first = trained(source, rows, task, tmp_path / "first")
    asked = request(
        *(tmp_path / "first", rows, tmp_path / "second"),
        TrainingOptions(steps=1, learning_rate=1e-9, max_length=16),
        Record(),
        evaluation=rows,
        task=task,
    )
    second = finetune(asked, ["score"])
    assert first.figures is not None
    assert second.figures == pytest.approx(first.figures, abs=1e-4)


def test_thresholds_are_set_on_held_out_texts(source: Path, tmp_path: Path) -> None:
    """What was found to be best stays best where 0.5 decides, and no bias is as it was trained."""
    task, rows = read(write(tmp_path / "data.jsonl", multi_rows()))
    options = TrainingOptions(steps=12, batch_size=8, learning_rate=3e-3, max_length=16)
    made = []
    for name, held_out in (("with", rows), ("without", None)):
        asked = request(
            *(source, rows, tmp_path / name, options, Record()), evaluation=held_out, task=task
        )
        made.append(finetune(asked, LABELS[task]))
    with_, without = (weights(tmp_path / name) for name in ("with", "without"))
    changed = [name for name in with_ if not np.array_equal(with_[name], without[name])]
    assert changed == ["classifier.bias"]
    answers = checkpoint_answers(tmp_path / "without", rows.items, max_length=16)
    known = tasks.find(task)
    truth = known.truth(rows, LABELS[task])
    assert truth is not None
    assert made[0].figures is not None
    before = known.metric(answers, truth, LABELS[task])
    assert made[0].figures["macro_f1"] > before["macro_f1"]


def rare_rows() -> list[dict[str, Any]]:
    """One text in twelve is about a film, and none about a book."""
    words = ("good", "bad", "dull")
    return [
        {"text": f"{'film' if number % 12 == 5 else 'ada'} is {words[number % 3]}", "labels": found}
        for number in range(72)
        for found in [["film"] if number % 12 == 5 else ["ada"]]
    ]


def test_a_new_head_begins_with_how_often_labels_occur(source: Path, tmp_path: Path) -> None:
    """A step at a rate of next to nothing changes nothing that counts; a head that is there is kept."""
    task, rows = read(write(tmp_path / "data.jsonl", rare_rows()), "text-multi-label")
    for name, begun in (("new", source), ("again", tmp_path / "taught")):
        if name == "again":
            trained(source, rows, task, tmp_path / "taught")
        asked = request(begun, rows, tmp_path / name, SLOW, Record(), task=task)
        finetune(asked, ["ada", "film", "book"] if name == "new" else ["ada", "film"])
    new, taught, again = (
        weights(tmp_path / name)["classifier.bias"] for name in ("new", "taught", "again")
    )
    odds = [66.5 / 6.5, 6.5 / 66.5, 0.5 / 72.5]
    np.testing.assert_allclose(new, np.log(odds), atol=1e-6)
    np.testing.assert_allclose(again, taught, atol=1e-6)


def test_a_new_head_begins_with_how_often_words_have_a_tag(source: Path, tmp_path: Path) -> None:
    """18 of the texts have one of each but I-PER, and 3 words outside; 6 have 4 of these."""
    task, rows = read(write(tmp_path / "data.jsonl", tagged_rows()))
    finetune(request(source, rows, tmp_path / "new", SLOW, Record(), task=task), LABELS[task])
    counts = np.array([78, 18, 0, 18, 18]) + 0.5
    found = weights(tmp_path / "new")["classifier.bias"]
    np.testing.assert_allclose(found, np.log(counts / counts.sum()), atol=1e-6)


def test_thresholds_count_while_a_model_learns(source: Path, tmp_path: Path) -> None:
    """After one step no film is above 0.5; the best threshold, which the file would have, finds some.
    What is told along the way is what such a file gives."""
    task, rows = read(write(tmp_path / "data.jsonl", rare_rows()), "text-multi-label")
    options = TrainingOptions(epochs=1, batch_size=72, learning_rate=1e-4, max_length=16)
    record = Record()
    asked = request(source, rows, tmp_path / "out", options, record, evaluation=rows, task=task)
    made = finetune(asked, ["ada", "film"])
    assert made.figures is not None
    assert record.accuracies == {1: pytest.approx(made.figures["macro_f1"])}
    assert made.figures["macro_f1"] > 0.55  # where all were called ada, and no film


def test_distil_sets_the_thresholds_of_a_student(source: Path, tmp_path: Path) -> None:
    task, rows = read(write(tmp_path / "data.jsonl", multi_rows()))
    trained(source, rows, task, tmp_path / "teacher")
    student = toy_folders.config(hidden_size=16, intermediate_size=24, small=True)
    options = TrainingOptions(steps=12, batch_size=8, learning_rate=3e-3, max_length=16)
    found = {}
    for name, held_out in (("with", rows), ("without", None)):
        asked = request(
            tmp_path / "teacher", rows, tmp_path / name, options, Record(), evaluation=held_out
        )
        distil(asked, student, DistillationLosses())
        answers = checkpoint_answers(tmp_path / name, rows.items, max_length=16)
        known = tasks.find(task)
        truth = known.truth(rows, LABELS[task])
        assert truth is not None
        found[name] = known.metric(answers, truth, LABELS[task])["macro_f1"]
    assert found["with"] > found["without"]
    with_, without = (weights(tmp_path / name) for name in ("with", "without"))
    assert [name for name in with_ if not np.array_equal(with_[name], without[name])] == [
        "classifier.bias"
    ]


def test_distil_learns_from_a_tagger(source: Path, tmp_path: Path) -> None:
    task, rows = read(write(tmp_path / "data.jsonl", tagged_rows()))
    trained(source, rows, task, tmp_path / "teacher")
    student = toy_folders.config(hidden_size=16, intermediate_size=24, small=True)
    asked = request(
        tmp_path / "teacher", rows, tmp_path / "out", OPTIONS, Record(), evaluation=rows
    )
    made = distil(asked, student, DistillationLosses(labels=1.0))
    assert (made.task, made.goal) == (task, "f1")
    assert made.figures is not None
    assert made.figures["f1"] > 0.9
    assert task_and_labels(Checkpoint(tmp_path / "out"))[0] == task
    with pytest.raises(InputError, match="leave out --cache"):
        asked = request(tmp_path / "teacher", rows, tmp_path / "other", OPTIONS, Record())
        distil(asked, student, DistillationLosses(), cache=tmp_path / "cache")


def test_prune_keeps_what_a_tagger_knows(source: Path, tmp_path: Path) -> None:
    task, rows = read(write(tmp_path / "data.jsonl", tagged_rows()))
    trained(source, rows, task, tmp_path / "teacher")
    asked = request(
        tmp_path / "teacher", rows, tmp_path / "out", OPTIONS, Record(), evaluation=rows
    )
    made = prune(asked, PruningOptions(0.3), DistillationLosses())
    assert made.accuracy is not None
    assert made.accuracy > 0.9
    assert task_and_labels(Checkpoint(tmp_path / "out"))[0] == task


def questions() -> list[dict[str, Any]]:
    """Who was it, and where the first token of the context is no name, nobody."""
    rows = []
    for number in range(24):
        name, word = PEOPLE[number % 2], ("good", "bad", "dull")[number % 3]
        context = f"the film is {word} . {name} was in the film"
        answers = {"text": [name], "answer_start": [context.index(name)]}
        rows.append({"question": "who was", "context": context, "answers": answers})
    return rows


def test_learns_where_answers_are(source: Path, tmp_path: Path) -> None:
    task, rows = read(write(tmp_path / "data.jsonl", questions()))
    assert task == "question-answering"
    made = trained(source, rows, task, tmp_path / "out")
    assert made.figures is not None
    assert made.figures["exact_match"] > 0.9
    answers = checkpoint_answers(tmp_path / "out", rows.items, max_length=16)
    assert [answer["answer"] for answer in answers[:2]] == ["ada", "bob"]


def test_distil_learns_where_answers_are(source: Path, tmp_path: Path) -> None:
    """A reader's two outputs have no names, which is no fault."""
    task, rows = read(write(tmp_path / "data.jsonl", questions()))
    trained(source, rows, task, tmp_path / "teacher")
    student = toy_folders.config(hidden_size=16, intermediate_size=24, small=True)
    asked = request(
        tmp_path / "teacher", rows, tmp_path / "out", OPTIONS, Record(), evaluation=rows
    )
    made = distil(asked, student, DistillationLosses())
    assert (made.task, made.goal) == (task, "f1")
    assert made.figures is not None
    assert made.figures["f1"] > 0.9


def test_answers_are_places_of_tokens(tmp_path: Path) -> None:
    """In each window of a long context; where it is not, [CLS]."""
    known = tasks.find("question-answering")
    encoder = PairEncoder(toys.tokenizer_json(), 12)
    context = "the film is good . the film is bad . ada was in the film"
    content = {"data": [{"paragraphs": [{"context": context, "qas": [
        {"question": "who", "answers": [{"text": "ada", "answer_start": 37}]},
        {"question": "who", "answers": [], "is_impossible": True},
    ]}]}]}  # fmt: skip
    (tmp_path / "squad.json").write_text(json.dumps(content))
    rows = known.read(Data(str(tmp_path / "squad.json"), "train", ColumnNames()))
    assert (rows.places, rows.asked) == ([37, None], {"no_answer": True})
    sequences, aims = known.lessons(rows, encoder, [])
    assert len(sequences) == len(aims) > 2
    half = len(aims) // 2
    assert not aims[half:].any()
    found = {
        encoder.token(int(sequence[start, 0]))
        for sequence, (start, end) in zip(sequences[:half], aims[:half], strict=True)
        if start and start == end
    }
    assert found == {"ada"}
    wrong = [{**questions()[0], "answers": {"text": ["bob born"], "answer_start": [0]}}]
    with pytest.raises(
        InputError, match="row 1: the answer 'bob born' does not stand in the context"
    ):
        known.lessons(read(write(tmp_path / "x.jsonl", wrong))[1], encoder, [])


def test_embeddings_learn_what_belongs_together(source: Path, tmp_path: Path) -> None:
    """By pairs, by triplets, and by scores."""
    words = ("ada", "bob", "good", "bad", "film", "where")
    pairs = [{"anchor": f"who is {word}", "positive": f"the {word} ."} for word in words]
    triplets = [{**row, "negative": "was born in"} for row in pairs]
    for name, rows in (("pairs", pairs), ("triplets", triplets)):
        task, found = read_lessons(write(tmp_path / f"{name}.jsonl", rows))
        assert task == "sentence-embedding"
        assert found.items_a_row == len(rows[0])
        made = trained(source, found, task, tmp_path / name)
        assert (made.goal, made.accuracy) == ("top1", None)
        assert made.figures == {"pairs": 6, "top1": 1.0}
    _, found = read_lessons(write(tmp_path / "scores.jsonl", scored_rows()), "sentence-embedding")
    made = trained(source, found, "sentence-embedding", tmp_path / "scores")
    assert made.goal == "spearman"
    assert made.figures is not None
    assert made.figures["spearman"] > 0.8


def test_distil_is_judged_by_what_belongs_together(source: Path, tmp_path: Path) -> None:
    """By pairs without scores, as finetune is."""
    words = ("ada", "bob", "good", "bad", "film", "where")
    pairs = [{"anchor": f"who is {word}", "positive": f"the {word} ."} for word in words]
    path = write(tmp_path / "pairs.jsonl", pairs)
    trained(source, read_lessons(path)[1], "sentence-embedding", tmp_path / "teacher")
    given = {"data": str(path), "evaluation": str(path), **dict.fromkeys(COLUMNS)}
    given |= {"output": tmp_path / "out", "force": False}
    data = training_data("tinybert", given, tmp_path / "teacher")
    student = toy_folders.config(hidden_size=16, intermediate_size=24, small=True)
    asked = request(
        *(tmp_path / "teacher", data.texts, tmp_path / "out", OPTIONS, Record()),
        evaluation=data.evaluation,
    )
    made = distil(asked, student, DistillationLosses())
    assert made.goal == "top1"
    assert made.figures is not None
    assert made.figures["top1"] > 0.8


def read_lessons(path: Path, task: str | None = None) -> tuple[str, Rows]:
    data = Data(str(path), "train", ColumnNames())
    found = task or task_of(data.table, data.columns)
    return found, tasks.find(found).read_lessons(data)


def test_losses_of_embeddings_by_hand() -> None:
    # Two rows of two texts; the first texts are as near to their own as can be, at a right angle to
    # the other.
    vectors = np.array([[1, 0], [2, 0], [0, 3], [0, 1]], np.float32)
    ranking = in_batch_ranking(vectors, np.zeros((2, 0), np.float32), 20.0).numpy()
    assert ranking == pytest.approx([math.log1p(math.exp(-20.0))] * 2, abs=1e-6)
    # The pair of the higher score has the cosine 0, the other one 1.
    vectors = np.array([[1, 0], [0, 1], [1, 1], [2, 2]], np.float32)
    found = cosent(vectors, np.array([1.0, 0.0], np.float32), 20.0).numpy()
    assert found == pytest.approx([math.log1p(math.exp(20.0))] * 2, rel=1e-5)


def test_lists_of_candidates_are_trained_for_their_order(source: Path, tmp_path: Path) -> None:
    """nDCG decides, and every candidate that is relevant ends up first."""
    samples = [
        {"query": f"who is {who} ?", "positive": [f"{who} is {word}"], "negative": others}
        for who in PEOPLE
        for word, others in (("good", ["the film", "where ?"]), ("fine", ["dull film", "the film"]))
    ]
    path = write(tmp_path / "data.jsonl", samples)
    task, rows = read(path)
    assert task == "text-scoring"
    made = trained(source, rows, task, tmp_path / "out")
    assert made.goal == "ndcg_at_10"
    assert made.figures is not None
    assert made.figures["queries"] == 2
    assert (made.figures["mrr_at_10"], made.figures["ndcg_at_10"]) == (1.0, 1.0)
