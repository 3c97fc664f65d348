"""`tfedge-infer` from outside: answers of every task, options, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import forge
import pytest
from program import each_runtime, environment, infer

from tfedge import __version__
from tfedge.runtime.bundle import TOKENIZER_FILE

CLASSIFIERS = ("classifier", "int8", "int8_output", "buckets", "two_inputs")


@each_runtime
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifies_in_each_runtime(toys: Path, name: str, runtime: str) -> None:
    result = infer("--model", toys / f"{name}.tflite", "--runtime", runtime, "a good film", "Bad .")
    assert result.code == 0
    assert [line.split("\t")[0] for line in result.lines] == ["positive", "negative"]
    assert all(0.99 < float(line.split("\t")[1]) <= 1 for line in result.lines)
    assert result.errors == []  # none of the runtimes' log lines either


@each_runtime
def test_other_tasks_in_each_runtime(toys: Path, runtime: str) -> None:
    runtime_options = ("--runtime", runtime)
    embedded = infer("--model", toys / "embedder.tflite", *runtime_options, "good film")
    assert embedded.lines[0].split()[:3] == ["0.250000", "0.000000", "0.250000"]
    tagged = infer("--model", toys / "tagger.tflite", *runtime_options, "Ada was born .")
    assert tagged.lines == ["Ada/NAME"]
    context = ("--context", "The film was dull. Bob was born.")
    read = infer("--model", toys / "reader.tflite", *runtime_options, *context, "Who was born?")
    assert read.lines[0].split("\t")[0] == "Bob"


def test_json_has_the_documented_fields(toys: Path) -> None:
    (answer,) = infer("--model", toys / "classifier.tflite", "--json", "Good — film").objects
    assert list(answer) == ["text", "label", "score", "scores", "unknown_share"]
    assert answer["text"] == "Good — film"
    assert answer["unknown_share"] == 0.333  # a word of three
    assert answer["score"] == answer["scores"][answer["label"]]
    assert list(answer["scores"]) == ["positive", "negative"]
    assert sum(answer["scores"].values()) == pytest.approx(1)


def test_json_of_tokens_and_spans_counts_characters(toys: Path) -> None:
    (tagged,) = infer("--model", toys / "tagger.tflite", "--json", "é. Ada x").objects
    (token,) = [token for token in tagged["tokens"] if token["label"] == "NAME"]
    assert (token["token"], token["start"], token["end"]) == ("ada", 3, 6)
    line = json.dumps({"question": "Who?", "context": "é, é. Bob was born"}).encode()
    (read,) = infer("--model", toys / "reader.tflite", "--json", "--jsonl", stdin=line).objects
    assert (read["question"], read["answer"], read["start"], read["end"]) == ("Who?", "Bob", 6, 9)


def test_words_that_the_model_does_not_know_are_told(toys: Path) -> None:
    model = ("--model", toys / "classifier.tflite")
    known, half, mostly = ("a film", "a —", "東京 — film")
    (answer,) = infer(*model, "--json", known).objects
    assert "unknown_share" not in answer
    result = infer(*model, known, half, mostly)
    (told,) = result.errors
    assert told.endswith(
        "text 3: 75 % of its tokens are unknown to the model, which guesses at them"
    )
    line = json.dumps({"text": known, "unknown_share": 0.9}).encode()
    (answer,) = infer(*model, "--json", "--jsonl", stdin=line).objects
    assert "unknown_share" not in answer  # of the line, not of the model


def test_top_k(toys: Path) -> None:
    model = ("--model", toys / "classifier.tflite")
    (line,) = infer(*model, "--top-k", "2", "good").lines
    assert line.split("\t")[::2] == ["positive", "negative"]
    (answer,) = infer(*model, "--top-k", "1", "--json", "good").objects
    assert list(answer["scores"]) == ["positive"]


def test_entities(toys: Path) -> None:
    model = ("--model", toys / "tagger.tflite")
    texts = ("Ada was born .", "a film", "", "Bob Ada, Ada")
    result = infer(*model, *texts)
    assert result.lines == ["Ada/NAME", "-", "error\t-", "Bob Ada/NAME\tAda/NAME"]
    (line,) = infer(*model, "--aggregation", "none", texts[0]).lines
    assert line == "ada/NAME was/O born/O ./O"
    (answer,) = infer(*model, "--json", texts[0]).objects
    assert list(answer) == ["text", "tokens", "entities"]
    (entity,) = answer["entities"]
    assert entity.pop("score") == pytest.approx(answer["tokens"][0]["score"])
    assert entity == {"type": "NAME", "text": "Ada", "start": 0, "end": 3}
    (answer,) = infer(*model, "--json", "--aggregation", "none", texts[0]).objects
    assert list(answer) == ["text", "tokens"]


def test_words_that_a_tokeniser_does_not_mark(toys: Path, tmp_path: Path) -> None:
    """Are taken to end at blanks; that is said once."""
    model, files = forge.split((toys / "tagger.tflite").read_bytes())
    tokenizer = files[TOKENIZER_FILE].replace(b'"##"', b'""')
    (path := tmp_path / "tagger.tflite").write_bytes(
        forge.join(model, {**files, TOKENIZER_FILE: tokenizer})
    )
    texts = ("Ada. Bob", "Bob, Ada")
    result = infer("--model", path, "--aggregation", "first", *texts)
    assert (result.code, result.lines) == (0, ["Ada. Bob/NAME", "Bob, Ada/NAME"])
    assert len(result.errors) == 1
    assert result.errors[0].startswith("tfedge-infer: the tokeniser does not mark words")
    assert infer("--model", path, *texts).errors == []


def test_text_that_does_not_fit_is_answered_by_its_beginning(toys: Path) -> None:
    model = ("--model", toys / "classifier.tflite")
    text = b"good " * 100_000
    (answer,) = infer(*model, "--json", stdin=text).objects
    assert answer["label"] == "positive"
    assert answer["truncated"] is True
    result = infer(*model, stdin=text)
    assert (result.code, result.lines) == (0, ["positive\t1.0000"])
    assert result.errors == [
        "tfedge-infer: line 1: longer than 16 tokens, answered by its beginning"
    ]


BAD_ARGUMENTS = {
    "empty": (b"", "the text is empty"),
    "blanks": (b" \t\n ", "the text is empty"),
    "not UTF-8": (b"good \xff\xfe", "the text is not valid UTF-8"),
}


@pytest.mark.parametrize("kind", BAD_ARGUMENTS)
@pytest.mark.parametrize("as_json", [False, True])
def test_bad_argument_spoils_only_itself(toys: Path, kind: str, as_json: bool) -> None:
    text, message = BAD_ARGUMENTS[kind]
    options = ["--json"] if as_json else []
    result = infer("--model", toys / "classifier.tflite", *options, b"good", text, b"bad")
    assert result.code == 1
    assert result.errors == [f"tfedge-infer: text 2: {message}"]
    assert len(result.lines) == 3
    if as_json:
        assert list(result.objects[1]) == ["text", "error"]
        assert result.objects[1]["error"] == message
    else:
        assert result.lines[1] == "error\t-"


def test_pairs(toys: Path) -> None:
    model = ("--model", toys / "classifier.tflite")
    (answer,) = infer(*model, "--json", "--pair", "good", "a film").objects
    assert list(answer) == ["text", "text_pair", "label", "score", "scores"]
    assert (answer["text"], answer["text_pair"]) == ("good", "a film")
    two = infer(*model, "--pair", "good", "a film", "bad", "a film")
    assert [line.split("\t")[0] for line in two.lines] == ["positive", "negative"]
    lines = b"good\ta film\ngood\nbad\ta\tfilm\n"
    result = infer(*model, "--json", "--pair", stdin=lines)
    assert (result.code, len(result.errors)) == (1, 1)
    assert "line 2: the line needs a text, a tab and a second text" in result.errors[0]
    assert result.objects[0] == answer
    assert result.objects[1]["text"] == "good"
    assert result.objects[2]["text_pair"] == "a\tfilm"
    fields = [
        {"text": "good", "text_pair": "a film"},
        {"text": "good"},
        {"text": "", "text_pair": 3},
    ]
    lines = "\n".join(map(json.dumps, fields)).encode()
    found = infer(*model, "--json", "--jsonl", stdin=lines).objects
    assert found[0] == answer
    assert list(found[1]) == ["text", "label", "score", "scores"]
    assert found[2]["error"] == "the line's 'text_pair' is not a string"
    (timing,) = infer(*model, "--json", "--benchmark", "3", "--pair", "good", "a film").objects
    assert (timing["texts"], timing["runs"]) == (1, 3)
    (built_in,) = infer(*model, "--json", "--benchmark", "3", "--pair").objects
    assert built_in["texts"] == 1


def test_a_question_and_its_context_are_a_pair(toys: Path) -> None:
    model = ("--model", toys / "reader.tflite")
    pair = ("Who was born?", "The film was dull. Bob was born.")
    expected = infer(*model, "--context", pair[1], pair[0]).lines
    assert infer(*model, "--pair", *pair).lines == expected
    assert infer(*model, "--pair", stdin="\t".join(pair).encode()).lines == expected


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("classifier", ("--pair", "good"), "--pair takes two texts for each answer; 1 are given"),
        ("classifier", ("--pair", "a", "b", "c"), "for each answer; 3 are given"),
        ("classifier", ("--pair", "--benchmark", "2", "a"), "for each answer; 1 are given"),
        ("embedder", ("--pair", "a", "b"), "--pair does not apply to sentence-embedding; leave"),
        ("tagger", ("--pair",), "--pair does not apply to token-classification; leave"),
        ("reader", ("--pair", "--context", "a", "b", "c"), "give it or --jsonl or --context"),
        ("classifier", ("--pair", "--jsonl"), "give it or --jsonl or --context"),
    ],
)
def test_wrong_use_of_pairs(toys: Path, name: str, arguments: tuple[str, ...], reason: str) -> None:
    result = infer("--model", toys / f"{name}.tflite", *arguments)
    assert (result.code, result.lines, len(result.errors)) == (2, [], 1)
    assert reason in result.errors[0]


def test_question_without_context(toys: Path) -> None:
    model = ("--model", toys / "reader.tflite")
    result = infer(*model, "Who?")
    assert (result.code, result.lines) == (1, ["error\t-"])
    assert "needs a question and a context" in result.errors[0]
    long_question = infer(*model, "--context", "Bob.", "who " * 50)
    assert "the question leaves no room for the context" in long_question.errors[0]


def test_context_longer_than_the_model(toys: Path) -> None:
    model = ("--model", toys / "reader.tflite", "--json")
    context = "The film was dull. " * 20 + "Bob was born. " + "It is a good film. " * 20
    (answer,) = infer(*model, "--context", context, "Who was born?").objects
    assert list(answer) == ["question", "answer", "score", "start", "end"]
    assert (answer["answer"], answer["start"]) == ("Bob", 380)
    too_long = infer(*model, "--context", "Bob. " * 4000, "Who was born?")
    assert (too_long.code, len(too_long.errors)) == (1, 1)
    assert "more than 512 windows of 16 tokens" in too_long.errors[0]


def test_no_answer(toys: Path) -> None:
    model = ("--model", toys / "reader.tflite", "--no-answer")
    questions = b"Who?\tThe film was dull.\nWho?\tBob was born.\n"
    nothing, bob = infer(*model, "--json", stdin=questions).objects
    assert (nothing["answer"], nothing["start"], nothing["end"]) == ("", 0, 0)
    assert bob["answer"] == "Bob"
    # e ** 2 for [CLS], 1 for each of the five tokens of the context.
    score = (7.389 / (7.389 + 5)) ** 2
    assert nothing["score"] == pytest.approx(score, abs=1e-4)
    assert infer(*model, stdin=questions).lines[0] == f"\t{score:.4f}"
    given = infer("--model", toys / "reader.tflite", "--json", stdin=questions).objects
    assert [bool(answer["answer"]) for answer in given] == [True, True]
    wrong = infer("--model", toys / "classifier.tflite", "--no-answer", "good")
    assert (wrong.code, len(wrong.errors)) == (2, 1)


def test_operation_that_every_runtime_lacks(toys: Path) -> None:
    result = infer("--model", toys / "lacking.tflite", "good")
    assert (result.code, result.lines, len(result.errors)) == (4, [], 1)
    assert "lacks the operation Betainc;" in result.errors[0]


@each_runtime
def test_data_type_that_one_runtime_lacks(toys: Path, runtime: str) -> None:
    """tflite-runtime 2.14 divides no int8, and says so only when it runs the model."""
    result = infer("--model", toys / "int8_divide.tflite", "--runtime", runtime, "good")
    if runtime == "litert":
        assert result.code == 0
    else:
        assert result.code == 4
        assert "operation DIV fails: Div only supports" in result.errors[0]
        assert (result.lines, len(result.errors)) == ([], 1)


@each_runtime
def test_operation_of_a_later_version(toys: Path, runtime: str) -> None:
    result = infer("--model", toys / "future.tflite", "--runtime", runtime, "good")
    assert (result.code, result.lines, len(result.errors)) == (4, [], 1)
    assert "version 99;" in result.errors[0]


WRONG_OPTIONS = {
    "no model": ([], "'--model'"),
    "unknown runtime": (["--runtime", "onnx"], "'tflite-runtime', 'litert'"),
    "no labels": (["--top-k", "0"], "'--top-k'"),
    "unknown aggregation": (["--aggregation", "last"], "'none', 'simple', 'first'"),
    "threads": (["--threads", "1000"], "1<=x<=64"),
    "unknown option": (["--fast"], "--fast"),
    "doctor and texts": (["--doctor"], "--doctor answers a sentence of its own"),
    "context": (["--context", "x"], "--context does not apply to text-classification"),
    "jsonl and texts": (["--jsonl"], "--jsonl is for standard input"),
}


@pytest.mark.parametrize("kind", WRONG_OPTIONS)
def test_wrong_options(toys: Path, kind: str) -> None:
    options, message = WRONG_OPTIONS[kind]
    model = [] if kind == "no model" else ["--model", str(toys / "classifier.tflite")]
    result = infer(*model, *options, "good")
    assert (result.code, result.lines, len(result.errors)) == (2, [], 1)
    assert message in result.errors[0]


@pytest.mark.parametrize("option", [("--top-k", "2"), ("--aggregation", "first")])
def test_options_of_other_tasks(toys: Path, option: tuple[str, str]) -> None:
    result = infer("--model", toys / "embedder.tflite", *option, "good")
    assert (result.code, result.lines, len(result.errors)) == (2, [], 1)
    assert "does not apply to sentence-embedding" in result.errors[0]


@pytest.mark.parametrize(
    ("library", "message"),
    [
        ("/nowhere/libvx_delegate.so", "not a loadable library"),
        ("libc.so.6", "not a TensorFlow Lite"),
    ],
)
def test_bad_delegate(toys: Path, library: str, message: str) -> None:
    result = infer("--model", toys / "classifier.tflite", "--delegate", library, "good")
    assert (result.code, result.lines, len(result.errors)) == (4, [], 1)
    assert message in result.errors[0]


def test_edge_tpu_needs_a_compiled_model(toys: Path) -> None:
    options = ("--model", toys / "classifier.tflite", "--delegate", "edgetpu")
    result = infer(*options, "--device", "usb:0", "good")
    assert (result.code, result.lines, len(result.errors)) == (3, [], 1)
    assert "tfedge edgetpu compile" in result.errors[0]
    assert infer(*options, "--device", "gpu", "good").code == 2


def test_benchmark(toys: Path) -> None:
    options = ("--model", toys / "buckets.tflite", "--benchmark", "7", "--threads", "1")
    (timing,) = infer(*options, "--json", "good", "a dull film").objects
    assert timing["model"] == "buckets"
    assert (timing["threads"], timing["runs"], timing["texts"]) == (1, 7, 2)
    assert 0 < timing["median_ms"] <= timing["p90_ms"]
    assert timing["tokens_per_s"] > timing["texts_per_s"] > 0
    assert timing["peak_rss_bytes"] > 10_000_000
    result = infer(*options)
    assert result.code == 0
    assert [line.split()[0] for line in result.lines] == [
        *("model", "runtime", "runs", "median", "p90", "speed", "memory")
    ]


def test_benchmark_of_a_bad_text(toys: Path) -> None:
    result = infer("--model", toys / "classifier.tflite", "--benchmark", "7", " ")
    assert (result.code, result.lines, len(result.errors)) == (1, [], 1)


def test_help_teaches() -> None:
    result = infer("--help")
    assert result.code == 0
    text = "\n".join(result.lines)
    assert "Examples:" in text
    assert all(f"\n    {code} " in text for code in (0, 1, 2, 3, 4, 130, 141))


def test_version() -> None:
    assert infer("--version").lines == [f"tfedge-infer {__version__}"]


def test_native_messages_before_a_crash_are_shown() -> None:
    code = """
import os
from tfedge.runtime import quiet

with quiet.quiet_start():
    os.write(2, b"INFO: Created a delegate.\\nFatal: no such instruction\\n")
    os.abort()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, check=False
    )
    assert done.returncode < 0
    assert done.stderr == b"Fatal: no such instruction\n"


def test_one_length(toys: Path) -> None:
    model = ("--model", toys / "buckets.tflite", "--length")
    result = infer(*model, "8", "good " * 9)
    assert (result.code, result.lines[0].split("\t")[0]) == (0, "positive")
    assert result.errors == [
        "tfedge-infer: text 1: longer than 8 tokens, answered by its beginning"
    ]
    result = infer(*model, "9", "good")
    message = "tfedge-infer: the model has no graph for 9 tokens; it has 8, 16"
    assert (result.code, result.lines, result.errors) == (2, [], [message])
