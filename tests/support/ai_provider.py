"""An AI provider on a loopback port: it speaks OpenAI's protocol, keeps books, and misbehaves on command.

Its embeddings count words, so that texts with words in common are near each other. `paid` says how often
each text was embedded, or asked about, in a request that the provider counted.
"""

import hashlib
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIMENSIONS = 64
KEY = "sk-test-0123456789"


@dataclass
class Provider:
    """`faults` are met by the next requests, one each; see _Handler for their names."""

    faults: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    paid: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    dimensions: int = DIMENSIONS
    longest: int = 10_000
    """Characters of a text beyond which the request is refused as too long."""
    labels: dict[str, str] = field(default_factory=dict)
    """The answer to texts with this word; else the first label."""
    key: str | None = KEY
    retry_after: str = "7"
    hold: threading.Event | None = None
    """Requests wait for it, after they are counted as received."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def embedded(self) -> list[list[str]]:
        """The texts of each request for embeddings, also of those that failed."""
        return [each["input"] for each in self.requests if "input" in each]


def word_vector(words: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Of length 1."""
    vector = [0.001] * dimensions
    for word in words.lower().split():
        at = int.from_bytes(hashlib.sha256(word.strip(".,:!?").encode()).digest()[:4], "big")
        vector[at % dimensions] += 1.0
    length = math.sqrt(sum(number * number for number in vector))
    return [number / length for number in vector]


class _Handler(BaseHTTPRequestHandler):
    provider: Provider
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.provider.lock:
            self.provider.requests.append(body)
            fault = self.provider.faults.pop(0) if self.provider.faults else ""
        if self.provider.hold is not None:
            self.provider.hold.wait(20)
        if self.provider.key and self.headers["Authorization"] != f"Bearer {self.provider.key}":
            self.error(401, "invalid_api_key", f"Incorrect key: {self.headers['Authorization']}")
        elif fault not in {"", "slow", "half"} and self.refuse(fault):
            return
        elif self.path == "/v1/embeddings":
            self.embed(body, fault)
        elif self.path == "/v1/chat/completions":
            self.complete(body, fault)
        else:
            self.error(404, "", "No such path")

    def refuse(self, fault: str) -> bool:
        match fault:
            case "busy":
                self.error(429, "rate_limit_exceeded", "Slow down", self.provider.retry_after)
            case "no_money":
                self.error(429, "insufficient_quota", "You exceeded your current quota")
            case "broken":
                self.error(500, "", "oops")
            case "unknown_model":
                self.error(404, "model_not_found", "The model `x` does not exist")
            case "refuse":
                self.error(400, "", "We do not like this")
            case "vanish":
                self.close_connection = True
            case _:
                return False
        return True

    def embed(self, body: dict[str, Any], fault: str) -> None:
        texts = body["input"]
        if any(len(text) > self.provider.longest for text in texts):
            self.error(400, "context_length_exceeded", "maximum context length is 8192 tokens")
            return
        size = body.get("dimensions", self.provider.dimensions) + (fault == "wrong_size")
        data = [
            {"object": "embedding", "index": at, "embedding": word_vector(text, size)}
            for at, text in enumerate(texts)
        ]
        if fault == "one_less":
            data.pop()
        if fault == "no_numbers":
            data[0]["embedding"] = [None] * size
        if fault == "zeros":
            data[0]["embedding"] = [0.0] * size
        self.count(texts, sum(len(text.split()) for text in texts))
        tokens = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        self.answer(200, {"object": "list", "data": data[::-1], "usage": usage}, fault)

    def complete(self, body: dict[str, Any], fault: str) -> None:
        schema = body["response_format"]["json_schema"]["schema"]
        words = body["messages"][1]["content"]
        labels = schema["properties"]["label"]["enum"]
        label = next((v for k, v in self.provider.labels.items() if k in words), labels[0])
        content = json.dumps({"label": label})
        match fault:
            case "no_json":
                content = f"I think it is {label}."
            case "other_label":
                content = '{"label": "none of yours"}'
            case "more_fields":
                content = json.dumps({"label": label, "because": "I say so"})
            case "no_words":
                content = ""
        self.count([words], 30)
        choices = [{"index": 0, "message": {"role": "assistant", "content": content}}]
        usage = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
        self.answer(200, {"choices": choices, "usage": usage}, fault)

    def count(self, texts: list[str], tokens: int) -> None:
        with self.provider.lock:
            self.provider.paid.update(texts)
            self.provider.tokens += tokens

    def error(self, status: int, code: str, message: str, after: str | None = None) -> None:
        self.answer(status, {"error": {"code": code, "message": message}}, after=after)

    def answer(self, status: int, body: Any, fault: str = "", after: str | None = None) -> None:
        content = b"<html>busy</html>" if fault == "html" else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if after is not None:
            self.send_header("Retry-After", after)
        self.end_headers()
        if fault == "half":
            self.close_connection = True
            content = content[: len(content) // 2]
        if fault == "slow":
            time.sleep(3.5)
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@contextmanager
def ai_provider() -> Iterator[Provider]:
    """A provider that listens until the block ends."""
    provider = Provider()
    handler = type("Handler", (_Handler,), {"provider": provider})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    provider.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
