"""Answers over HTTP, with Python's standard library.

    edge/bin/python http_service.py tinybert_int8.tflite --workers 2
    curl -d '{"id": 7, "text": "A fine film."}' http://127.0.0.1:8080/

A POST with one JSON object gives one back, and with a list a list: what `tfedge-infer --jsonl --json`
makes of each, "id" and other keys with it. What cannot be answered has "error". Behind a proxy (nginx,
caddy) only, which speaks TLS and knows who may ask.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tfedge.runtime import InferenceError, Pipeline, TextError, load

MAX_BYTES = 1 << 20
MAX_TEXTS = 100
TIMEOUT_S = 5  # of a client that sends nothing


class Service(ThreadingHTTPServer):
    """A thread for each connection; the model answers as many of them at once as it has workers."""

    request_queue_size = 128
    daemon_threads = False  # who has asked is answered before it ends
    is_ending = False

    def __init__(self, address: tuple[str, int], model: Pipeline) -> None:
        super().__init__(address, Handler)
        self.model = model

    def answers(self, asked: Any) -> Any:
        """Of one object, or of each of a list; raises ValueError where it is neither."""
        if isinstance(asked, list) and len(asked) <= MAX_TEXTS:
            return [self.answers(one) if isinstance(one, dict) else refused(one) for one in asked]
        if not isinstance(asked, dict):
            raise ValueError(f"send an object with 'text', or a list of at most {MAX_TEXTS}")
        known, rest = self.model.task.input, dict(asked)
        for verdict in ("error", "truncated"):  # the answer's, if it has them
            rest.pop(verdict, None)
        item = {name: asked[name] for name in (known.key, known.second) if name and name in asked}
        try:
            return {**rest, **self.model(item)}
        except TextError as error:
            return {**rest, "error": str(error)}

    def end(self, *_: Any) -> None:
        self.is_ending = True
        # shutdown() waits for serve_forever(), which the thread with the signal is in.
        threading.Thread(target=self.shutdown).start()


def refused(one: object) -> dict[str, str]:
    return {"error": f"{type(one).__name__} is no object with 'text'"}


class Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S

    def do_POST(self) -> None:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            return self.reply(411, {"error": "send Content-Length"}, last=True)
        if not 0 <= length <= MAX_BYTES:
            return self.reply(413, {"error": f"at most {MAX_BYTES} bytes"}, last=True)
        try:
            found = self.server.answers(json.loads(self.rfile.read(length)))
            self.reply(200, found)
        except (ValueError, RecursionError) as error:
            self.reply(400, {"error": str(error)})
        except InferenceError as error:  # the model is closed, or the runtime fails
            self.reply(503, {"error": str(error)})

    def do_GET(self) -> None:
        """For whoever watches the service."""
        self.reply(200, {"model": repr(self.server.model)})

    def reply(self, status: int, content: Any, last: bool = False) -> None:
        body = json.dumps(content, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if last or self.server.is_ending:  # last: what was sent has not been read
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """The proxy logs."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--runtime")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with (
        load(given.model, given.runtime, workers=given.workers) as model,
        Service((given.host, given.port), model) as service,
    ):
        signal.signal(signal.SIGTERM, service.end)
        print(f"http://{given.host}:{service.server_port}/", flush=True)
        service.serve_forever()


if __name__ == "__main__":
    main()
