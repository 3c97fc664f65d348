"""examples/http_service.py under load, and what it refuses."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crowd
import pytest
from program import INSTALLED, ROOT, TIMEOUT_S, environment

SCRIPT = ROOT / "examples/http_service.py"


@pytest.fixture(scope="module")
def service(toys: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    options = ("--port", "0", "--workers", "2", "--runtime", INSTALLED[0])
    command = [sys.executable, str(SCRIPT), str(toys / "classifier.tflite"), *options]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline().rstrip("/\n").rsplit(":", 1)[1]), process
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0


def post(connection: http.client.HTTPConnection, content: bytes) -> tuple[int, Any]:
    connection.request("POST", "/", content)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)


def test_every_answer_is_its_own(service: tuple[int, Any], load_toy: Any) -> None:
    """Of 8 clients at once, half of which connect anew for each text."""
    model = load_toy("classifier")
    expected = {text: model(text) for text in crowd.texts(40)}
    wrong: list[Any] = []
    asked: list[int] = []

    def ask(client: int) -> None:
        connection = connect(service[0])
        for number, (text, answer) in enumerate([*expected.items()] * 2):
            number += 1000 * client
            if client % 2:
                connection = connect(service[0])
            found = post(connection, json.dumps({"id": number, "text": text}).encode())
            asked.append(number)
            scores = found[1].get("scores", {})
            if found[0] != 200 or {**answer, "id": number, "scores": scores} != {
                **found[1],
                "score": pytest.approx(answer["score"]),
            }:
                wrong.append((number, text, found))

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len({*asked}) == 640


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        (b"", 400, "Expecting value"),
        (b"3", 400, "send an object"),
        (b'"good"', 400, "send an object"),
        (b"[" * 100_000, 400, ""),
        (json.dumps([{"text": "good"}] * 101).encode(), 400, "a list of at most 100"),
        (b'{"text": "good", "id": NaN}', 400, "not JSON compliant"),
    ],
)
def test_what_is_refused(content: bytes, status: int, error: str, service: tuple[int, Any]) -> None:
    found = post(connect(service[0]), content)
    assert found[0] == status
    assert error in found[1]["error"]


@pytest.mark.parametrize(("length", "status"), [("1048577", 413), ("-1", 413), ("many", 411)])
def test_what_is_not_read(length: str, status: int, service: tuple[int, Any]) -> None:
    connection = connect(service[0])
    connection.request("POST", "/", b"", {"Content-Length": length})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (status, "close")


def test_errors_have_their_id(service: tuple[int, Any]) -> None:
    asked = [{"id": 1, "text": ""}, {"id": 2}, 3, {"id": 4, "text": "good"}, {"text": 5}]
    status, answers = post(connect(service[0]), json.dumps(asked).encode())
    assert (status, len(answers)) == (200, len(asked))
    assert ["error" in answer for answer in answers] == [True, True, True, False, True]
    assert [answer.get("id") for answer in answers] == [1, 2, None, 4, None]
    assert answers[3]["label"] == "positive"


def test_who_watches(service: tuple[int, Any]) -> None:
    connection = connect(service[0])
    connection.request("GET", "/")
    assert "classifier" in json.loads(connection.getresponse().read())["model"]


def test_what_the_guide_asks(service: tuple[int, subprocess.Popen[str]]) -> None:
    """The curl of docs/pipe.md, by Python, on the port of this service."""
    guide = (ROOT / "docs/pipe.md").read_text(encoding="utf-8")
    (shown,) = re.findall(
        r"^    edge/bin/python http_service\.py .*\n    curl (.*)$", guide, re.MULTILINE
    )
    option, content, address = shlex.split(shown)
    assert (option, address) == ("-d", "http://127.0.0.1:8080/")
    request = urllib.request.Request(address.replace("8080", str(service[0])), content.encode())
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        found = json.load(answer)
    assert (found["id"], found["label"]) == (7, "positive")
