"""`tfedge-infer` in a pipe: one answer a line, at once, whatever the lines are."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from program import COMMAND, TIMEOUT_S, environment, infer, start

from tfedge.runtime.lines import MAX_LINE_BYTES


def read_line(process: subprocess.Popen[bytes]) -> bytes:
    """The next line of the process's output; fails where none comes."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], TIMEOUT_S)
        assert ready, "no answer came while standard input was open"
        byte = os.read(process.stdout.fileno(), 1)
        assert byte, f"the program ended: {process.stderr.read() if process.stderr else ''}"
        line += byte
    return line


def send(process: subprocess.Popen[bytes], content: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(content)


def test_answers_before_standard_input_ends(toys: Path) -> None:
    with start("--model", toys / "classifier.tflite") as process:
        for text, label in ((b"good\n", b"positive"), (b"dull\n", b"negative")):
            send(process, text)
            assert read_line(process).startswith(label)
        send(process, b"go")
        send(process, b"od\n")
        assert read_line(process).startswith(b"positive")
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0


STREAM = b"good film\n\nbad \xff\nfine\r\n\0\0\n" + b"great " * 20 + b"\nawful"
EXPECTED = ("positive", "error", "error", "positive", "error", "positive", "negative")


def test_lines_of_answers_match_lines_of_texts(toys: Path) -> None:
    result = infer("--model", toys / "classifier.tflite", stdin=STREAM)
    assert [line.split("\t")[0] for line in result.lines] == list(EXPECTED)
    assert result.code == 1
    assert result.errors == [
        "tfedge-infer: line 2: the text is empty",
        "tfedge-infer: line 3: the line is not valid UTF-8",
        "tfedge-infer: line 5: the text has only characters that the tokeniser drops",
        "tfedge-infer: line 6: longer than 16 tokens, answered by its beginning",
    ]


def test_objects_match_lines_of_texts(toys: Path) -> None:
    result = infer("--model", toys / "classifier.tflite", "--json", stdin=STREAM)
    assert [answer.get("label", "error") for answer in result.objects] == list(EXPECTED)
    assert result.objects[2]["text"] == "bad \ufffd"


def test_json_lines(toys: Path) -> None:
    texts = ["good\nfilm", {"text": "bad", "id": 7}, {"txt": "bad"}, 3, None, "", "\ud800", []]
    lines = [json.dumps(text).encode() for text in texts]
    lines += [b"[" * 100_000, b"not json", b"\xff", b'"fine"']
    model = ("--model", toys / "classifier.tflite")
    result = infer(*model, "--json", "--jsonl", stdin=b"\n".join(lines))
    assert len(result.objects) == len(lines)
    labels = {i: answer["label"] for i, answer in enumerate(result.objects) if "label" in answer}
    assert labels == {0: "positive", 1: "negative", len(lines) - 1: "positive"}
    assert result.objects[0]["text"] == "good\nfilm"
    assert len(result.errors) == len(lines) - len(labels)


def test_questions_and_contexts(toys: Path) -> None:
    model = ("--model", toys / "reader.tflite")
    plain = infer(*model, stdin=b"Who?\tBob was born\nWho?\n\n")
    assert [line.split("\t")[0] for line in plain.lines] == ["Bob", "error", "error"]
    common = infer(*model, "--context", "Ada was", stdin=b"Who?\nWho was?\n")
    assert [line.split("\t")[0] for line in common.lines] == ["Ada", "Ada"]
    lines = [{"question": "Who?", "context": "Bob"}, {"question": "Who?"}, "Who?"]
    stdin = b"\n".join(json.dumps(line).encode() for line in lines)
    objects = infer(*model, "--json", "--jsonl", stdin=stdin).objects
    assert [answer.get("answer") for answer in objects] == ["Bob", None, None]
    objects = infer(*model, "--json", "--jsonl", "--context", "Ada", stdin=stdin).objects
    assert [answer.get("answer") for answer in objects] == ["Bob", "Ada", "Ada"]


def test_other_keys_come_back(toys: Path) -> None:
    """With errors too; what the answer says itself, and what became of it, is the answer's."""
    lines: list[Any] = [
        {
            "id": 7,
            "text": "good",
            "label": "gold",
            "error": "none",
            "truncated": True,
            "tags": [None],
        },
        {"id": "b", "text": ""},
        {"id": {"c": 1.5}, "txt": "bad"},
        {"id": 3, "text": "bad", "text_pair": 4},
        {"id": 4, "text": "bad", "weight": float("nan")},
        "bad",
    ]
    stdin = b"\n".join(json.dumps(line).encode() for line in lines)
    stdin += b'\n{"text": "bad", "id": 1e999}'
    result = infer("--model", toys / "classifier.tflite", "--json", "--jsonl", stdin=stdin)
    first, *bad, nan, plain, large = result.objects
    assert list(first) == ["id", "label", "tags", "text", "score", "scores"]
    assert (first["id"], first["label"], first["tags"]) == (7, "positive", [None])
    assert [answer["id"] for answer in bad] == ["b", {"c": 1.5}, 3]
    assert all("label" not in answer and answer["error"] for answer in (*bad, nan, large))
    assert "not JSON" in nan["error"] and "not JSON" in large["error"]
    assert (plain["label"], "id" in plain) == ("negative", False)
    assert (len(result.errors), result.code) == (5, 1)
    reader = infer(
        *("--model", toys / "reader.tflite", "--json", "--jsonl"),
        stdin=b'{"id": 1, "question": "Who?", "context": "Bob"}\n{"id": 2, "question": "Who?"}',
    )
    assert [answer["id"] for answer in reader.objects] == [1, 2]


def test_line_without_an_end(toys: Path) -> None:
    """A line longer than any text is dropped as it comes, not collected in memory."""
    endless = b"good " * (MAX_LINE_BYTES // 5 + 1)
    result = infer("--model", toys / "classifier.tflite", stdin=endless + b"\nbad\n")
    assert [line.split("\t")[0] for line in result.lines] == ["error", "negative"]
    assert result.errors == [
        f"tfedge-infer: line 1: the line is longer than {MAX_LINE_BYTES} bytes"
    ]


def test_byte_order_mark_and_empty_input(toys: Path) -> None:
    model = ("--model", toys / "classifier.tflite")
    assert infer(*model, "--jsonl", stdin=b'\xef\xbb\xbf"good"\n').code == 0
    nothing = infer(*model, stdin=b"")
    assert (nothing.code, nothing.lines, nothing.errors) == (0, [], [])


def test_sigterm_answers_what_was_read(toys: Path) -> None:
    with start("--model", toys / "classifier.tflite") as process:
        send(process, b"good\n" * 500 + b"unfinished")
        answers = [read_line(process)]  # the rest was read with the first line
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=TIMEOUT_S)
        answers += out.splitlines()
    assert len(answers) == 500
    assert (process.returncode, errors) == (0, b"")


def test_sigterm_with_a_file(toys: Path, tmp_path: Path) -> None:
    """It keeps its lines: only the one that is being answered still is."""
    path = tmp_path / "texts.txt"
    path.write_text("good film\n" * 100_000)
    command = [*COMMAND, "--model", str(toys / "classifier.tflite")]
    with (
        path.open("rb") as texts,
        subprocess.Popen(
            command, stdin=texts, stdout=subprocess.PIPE, env=environment(), bufsize=0
        ) as process,
    ):
        read_line(process)
        process.send_signal(signal.SIGTERM)
        start, answers = time.monotonic(), process.communicate(timeout=TIMEOUT_S)[0]
        assert time.monotonic() - start < 1
    assert len(answers.splitlines()) < 6_000  # less than the first 64 KB
    assert answers.endswith(b"\n") or not answers
    assert process.returncode == 0


def test_sigterm_between_lines(toys: Path) -> None:
    with start("--model", toys / "classifier.tflite") as process:
        send(process, b"good\n")
        read_line(process)
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)  # although standard input stays open
    assert process.returncode == 0


def test_interrupt_is_quiet(toys: Path) -> None:
    with start("--model", toys / "classifier.tflite") as process:
        send(process, b"good\n")
        read_line(process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, errors) == (130, b"")


def test_reader_that_went_away_is_no_error(toys: Path) -> None:
    with start("--model", toys / "classifier.tflite") as process:
        send(process, b"good\n")
        read_line(process)
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        send(process, b"good\n")
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, errors) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk(toys: Path) -> None:
    command = [*start_command(toys), "good"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize(
    ("closed", "code"), [("<&-", 2), (">&-", 1), ("2>&-", 1)], ids=["stdin", "stdout", "stderr"]
)
def test_closed_streams(toys: Path, closed: str, code: int) -> None:
    texts = [] if closed == "<&-" else ["good", ""]
    done = subprocess.run(
        ["bash", "-c", f'"$@" {closed}', "bash", *start_command(toys), *texts],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    if closed == "2>&-":  # what went wrong must not land among the answers
        assert done.stdout == b"positive\t0.9997\nerror\t-\n"


def start_command(toys: Path) -> list[str]:
    return [*COMMAND, "--model", str(toys / "classifier.tflite")]


def test_json_of_many_values(toys: Path) -> None:
    """An error where they take memory; commas within a text are none."""
    text = 'a "good", [fine] film: ' * 60_000
    lines = [
        json.dumps({"text": text}),
        json.dumps({"text": "good", "id": [1] * 99_000}),
        *(json.dumps({"text": "good", "id": [1] * 101_000}), json.dumps(["a"] * 500_000)),
        '{"text": "good", "id": "' + '\\"' * 500_000 + '"}',
    ]
    stdin = "".join(f"{line}\n" for line in lines).encode()
    result = infer("--model", toys / "classifier.tflite", "--jsonl", "--json", stdin=stdin)
    answers = [answer.get("label", answer.get("error")) for answer in result.objects]
    many = "the line is JSON of more than 100,000 values"
    assert answers == ["positive", "positive", many, many, "positive"]
