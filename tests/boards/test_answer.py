"""What boards answer that are not as they should be, each one line and no traceback."""

from __future__ import annotations

import json

import pytest

from tfedge.boards.answer import places_in, read_answer
from tfedge.boards.errors import BoardError
from tfedge.boards.wheels import place_of

MARKERS = dict.fromkeys(
    (
        *("implementation_name", "os_name", "platform_machine", "platform_release"),
        *("platform_python_implementation", "platform_system", "platform_version"),
    ),
    "x",
) | dict.fromkeys(("implementation_version", "python_full_version", "python_version"), "3.11")
BAD = [
    *("{bad", "[]", "7", "[" * 200_000, '{"models": [' + "9" * 5000 + "]}"),
    *('{"models": 7}', '{"models": [1]}', '{"models": [{"name": 7, "size": 1, "sha256": "x"}]}'),
    '{"models": [{"name": "a", "size": "x", "sha256": "y"}]}',
    '{"models": [{"name": "a", "size": 1e400, "sha256": "y"}]}',
    '{"models": [{"name": "a", "size": -1, "sha256": "y"}]}',
    '{"models": [{"name": "a", "size": 1, "sha256": 1}]}',
    *('{"removed": 7}', '{"paths": [1]}', '{"missing": ["a"]}', '{"missing": [true]}'),
    *('{"installed": 1}', '{"error": 7}', '{"libc": ["glibc", "2.99999999"]}', '{"libc": "glibc"}'),
    *('{"machine": "x y"}', '{"markers": {"python_version": 3}}', '{"packages": 1}'),
    *('{"markers": {}}', json.dumps({"markers": {**MARKERS, "python_version": "--index-url=x"}})),
    *('{"changed": 1}', '{"folder": null}', '{"note": 7}'),
]


@pytest.mark.parametrize("line", BAD, ids=lambda line: line[:40])
def test_what_is_no_answer(line: str) -> None:
    with pytest.raises(BoardError, match=r"^pi: it gives an answer ") as error:
        read_answer("pi", line.encode())
    assert len(str(error.value)) < 300


def test_what_is_missing() -> None:
    answer = read_answer("pi", b"{}")
    with pytest.raises(BoardError, match="pi: it gives an answer without 'machine'"):
        place_of(answer)
    assert answer.get("models") is None


@pytest.mark.parametrize("numbers", [[-1], [2], [0, 99]])
def test_numbers_of_nothing(numbers: list[int]) -> None:
    answer = read_answer("pi", json.dumps({"missing": numbers}).encode())
    with pytest.raises(BoardError, match="whose 'missing' is"):
        places_in(answer, "missing", 2)


def test_a_right_one() -> None:
    models = [{"name": "a.tflite", "size": 3, "sha256": None}]
    answer = read_answer("pi", json.dumps({"models": models, "missing": [1, 0], "x": 1}).encode())
    assert answer == {"models": models, "missing": [1, 0], "x": 1}
    assert read_answer("pi", json.dumps({"markers": MARKERS}).encode())["markers"] == MARKERS
    assert places_in(answer, "missing", 2) == [1, 0]
