"""The meaning of texts by a provider's model, asked through the llm-proxy, which meters it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import grpc
import numpy as np

from cadre.llm_proxy.v1 import llm_pb2, llm_pb2_grpc
from cadre_kit.channels import call
from cadre_kit.errors import CadreError, FailedPrecondition
from cadre_memory.domain.stores import TextRefused, Vector, stored_vector

_SECONDS = 60.0
# Someone waits for a search; its words are found without the model.
_QUESTION_SECONDS = 5.0
_PAUSE_SECONDS = 15.0
_QUESTIONS_KEPT = 256
_TEXTS = 256
_BATCH_BYTES = 1024 * 1024
# Some 4,000 tokens of English, which every model for embeddings takes.
_CHARACTERS = 16_384
_REFUSALS = ("CONTEXT_TOO_LONG", "CONTENT_REFUSED", "PROVIDER_REFUSED_REQUEST")
# Counts the ways in which texts were understood, as that of the embedded model does.
_WAY = 2


class EmbeddingDimensionsWrong(FailedPrecondition):
    """The model gave vectors of another size than was asked for, or than it gave before."""

    code = "EMBEDDING_DIMENSIONS_WRONG"

    def __init__(self, model: str, *, given: int, expected: int) -> None:
        super().__init__(
            f"{model} gave vectors of {given} numbers, not {expected}",
            resolution="Set CADRE_MEMORY_EMBEDDING_DIMENSIONS to what the model gives, or to 0 for whatever it gives.",
            metadata={"model": model, "given": str(given), "expected": str(expected)},
        )


class ProviderEmbedder:
    """An Embedder. Texts are understood after they were stored; the newest questions' meanings are kept."""

    costs = True

    def __init__(self, channel: grpc.aio.Channel, *, name: str, dimensions: int) -> None:
        self._stub = llm_pb2_grpc.LlmServiceStub(channel)
        self._name = name
        self._asked_dimensions = dimensions
        self._dimensions = dimensions
        self._questions: OrderedDict[str, Vector | None] = OrderedDict()
        self._failure: CadreError | None = None
        self._failed_at = 0.0

    @property
    def model(self) -> str:
        """As Embedder says."""
        chosen = f":{self._asked_dimensions}" if self._asked_dimensions else ""
        return f"{self._name}{chosen}/{_WAY}"

    def embed(self, texts: Sequence[str]) -> Sequence[bytes | None]:
        """As Embedder says: later."""
        return [None] * len(texts)

    async def understand(self, texts: Sequence[str]) -> Sequence[bytes | None]:
        """As Embedder says. Raises EmbeddingDimensionsWrong, TextRefused and what the llm-proxy says."""
        vectors: list[Vector | None] = []
        for batch in _batches([text[:_CHARACTERS] for text in texts]):
            vectors += await self._asked(batch, seconds=_SECONDS)
        return [stored_vector(each) for each in vectors]

    async def question(self, text: str, words: Sequence[str]) -> Vector | None:
        """As Embedder says. Raises as `understand`; for a while after a failure at once."""
        if text in self._questions:
            self._questions.move_to_end(text)
            return self._questions[text]
        if self._failure is not None and time.monotonic() - self._failed_at < _PAUSE_SECONDS:
            raise self._failure
        try:
            (vector,) = await self._asked([text[:_CHARACTERS]], seconds=_QUESTION_SECONDS)
        except CadreError as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise
        self._failure = None
        self._questions[text] = vector
        if len(self._questions) > _QUESTIONS_KEPT:
            self._questions.popitem(last=False)
        return vector

    async def _asked(self, texts: Sequence[str], *, seconds: float) -> list[Vector | None]:
        """The vectors; a text of nothing but spaces has none, and is not sent."""
        sent = [text for text in texts if text.strip()]
        if not sent:
            return [None] * len(texts)
        provider, _, model = self._name.partition("/")
        request = llm_pb2.EmbedRequest(
            provider=provider,
            model=model,
            texts=sent,
            dimensions=self._asked_dimensions,
            attribution=llm_pb2.Attribution(node="memory"),
            timeout_seconds=seconds,
        )
        try:
            answer = await call(
                self._stub.Embed, request, service="llm-proxy", timeout_seconds=seconds
            )
        except CadreError as error:
            if error.code in _REFUSALS:
                raise TextRefused(error.message, resolution=error.resolution) from error
            raise
        vectors = iter([self._vector(each) for each in answer.vectors])
        return [next(vectors) if text.strip() else None for text in texts]

    def _vector(self, numbers: bytes) -> Vector | None:
        vector = np.frombuffer(numbers, "<f4")
        self._dimensions = self._dimensions or len(vector)
        if len(vector) != self._dimensions:
            raise EmbeddingDimensionsWrong(self._name, given=len(vector), expected=self._dimensions)
        length = float(np.linalg.norm(vector))
        if not length or not np.isfinite(length):
            return None
        return (vector / length).astype(np.float32)


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    batch: list[str] = []
    room = _BATCH_BYTES
    for text in texts:
        room -= len(text.encode())
        if batch and (room < 0 or len(batch) == _TEXTS):
            yield batch
            batch, room = [], _BATCH_BYTES - len(text.encode())
        batch.append(text)
    if batch:
        yield batch
