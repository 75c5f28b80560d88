"""
A language model that speaks the two providers' wire formats, with a word for each token. It can
break off in the middle.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ["four", "char", "word", "each", "time"]
MODEL = "small-1"


class Model:
    """
    Attributes:
        requests: Bodies received.
        breaks: Cut the connection after so many words.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.breaks: int | None = None
        self.refuses_options = False
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: Model

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.model.requests.append(body)
        if self.model.refuses_options and "stream_options" in body:
            self._answer({"error": {"message": "unknown parameter"}}, 400)
            return
        path = self.path.rpartition("/v1/")[2]
        anthropic = path == "messages"
        if path == "embeddings":
            vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
            usage = {"prompt_tokens": 6, "total_tokens": 6}
            self._answer({"object": "list", "model": MODEL, "data": [vector], "usage": usage})
        elif path == "responses":
            self._responses(body)
        elif not body.get("stream"):
            self._answer(_message("x", True) if anthropic else _completion())
        elif anthropic:
            self._stream(_anthropic_events(), done=False)
        else:
            asked = (body.get("stream_options") or {}).get("include_usage")
            self._stream(_openai_events(bool(asked)), done=True)

    def _responses(self, body: dict[str, Any]) -> None:
        usage = {
            "input_tokens": 12,
            "output_tokens": 5,
            "total_tokens": 17,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens_details": {"reasoning_tokens": 2},
        }
        answer = {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "model": MODEL,
            "output": [],
            "status": "completed",
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
            "usage": usage,
        }
        if not body.get("stream"):
            self._answer(answer)
            return
        delta = {
            "type": "response.output_text.delta",
            "delta": "four",
            "item_id": "i",
            "output_index": 0,
            "content_index": 0,
            "sequence_number": 1,
            "logprobs": [],
        }
        last = {"type": "response.completed", "response": answer, "sequence_number": 2}
        self._stream([(delta["type"], delta), (last["type"], last)], done=False)

    def _answer(self, answer: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, events: list[tuple[Any, dict[str, Any]]], *, done: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        words = 0
        for kind, event in events:
            text = f"event: {kind}\n" if kind else ""
            self._piece(f"{text}data: {json.dumps(event)}\n\n")
            words += any(word in json.dumps(event) for word in WORDS)
            if words == self.model.breaks:
                self.close_connection = True
                return
        if done:
            self._piece("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _piece(self, text: str) -> None:
        raw = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(raw), raw))
        self.wfile.flush()

    def log_message(self, *args: Any) -> None:
        pass


def _usage() -> dict[str, Any]:
    return {
        "prompt_tokens": 12,
        "completion_tokens": 5,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4},
    }


def _completion() -> dict[str, Any]:
    message = {"role": "assistant", "content": " ".join(WORDS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [choice],
        "usage": _usage(),
    }


def _openai_events(with_usage: bool) -> list[tuple[None, dict[str, Any]]]:
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    events: list[tuple[None, dict[str, Any]]] = [
        (None, base | {"choices": [{"index": 0, "delta": {"content": word}}]}) for word in WORDS
    ]
    if with_usage:
        events.append((None, base | {"choices": [], "usage": _usage()}))
    return events


def _message(text: str, whole: bool) -> dict[str, Any]:
    usage = {
        "input_tokens": 8,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 1,
        "output_tokens": 5 if whole else 1,
    }
    return {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": text}] if whole else [],
        "stop_reason": "end_turn" if whole else None,
        "stop_sequence": None,
        "usage": usage,
    }


def _anthropic_events() -> list[tuple[str, dict[str, Any]]]:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": _message("", False)},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
    ]
    for word in WORDS:
        delta = {"type": "text_delta", "text": word}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    events += [
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]
    return [(event["type"], event) for event in events]


class _Server(ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        """Clients that go away are what is tested here."""


@contextmanager
def modelling() -> Iterator[Model]:
    model = Model()
    handler = type("Handler", (_Handler,), {"model": model})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    model.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
