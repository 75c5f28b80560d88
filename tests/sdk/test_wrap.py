"""
Wrapped clients of language models: the real clients against a local model.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator, Mapping
from typing import Any

import anthropic
import openai
import pytest
from tests.sdk.model import MODEL, WORDS, Model, modelling

from taximeter_sdk import Taximeter

ASK: list[Any] = [{"role": "user", "content": "x" * 40}]


class Notes(Taximeter):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9")
        self.noted: list[tuple[str, str, dict[str, Any]]] = []

    def track(self, customer: str, type: Any = None, /, **more: Any) -> str:  # type: ignore[override]
        self.noted.append((customer, type, dict(more["data"])))
        return "id"

    @property
    def data(self) -> dict[str, Any]:
        ((_, _, data),) = self.noted
        return data


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def model() -> Iterator[Model]:
    with modelling() as running:
        yield running


def openai_client(model: Model) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{model.url}/v1", api_key="k", max_retries=0)


def anthropic_client(model: Model) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=model.url, api_key="k", max_retries=0)


OPENAI = {
    "provider": "openai",
    "operation": "chat.completions",
    "model": MODEL,
    "input_tokens": 12,
    "output_tokens": 5,
    "cached_tokens": 4,
}
ANTHROPIC = {
    "provider": "anthropic",
    "operation": "messages",
    "model": MODEL,
    "input_tokens": 12,
    "output_tokens": 5,
    "cached_tokens": 3,
    "cache_write_tokens": 1,
}


def test_a_whole_answer_is_counted_by_what_it_says(notes: Notes, model: Model) -> None:
    client = notes.wrap(openai_client(model), "acme", data={"team": "search"})
    answer = client.chat.completions.create(model=MODEL, messages=ASK)
    assert answer.choices[0].message.content == " ".join(WORDS)
    assert notes.noted == [("acme", "llm.request", OPENAI | {"team": "search"})]


def test_a_stream_is_counted_by_its_last_chunk_which_the_caller_never_sees(
    notes: Notes, model: Model
) -> None:
    client = notes.wrap(openai_client(model), "acme")
    stream = client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    assert [chunk.choices[0].delta.content for chunk in stream] == WORDS
    assert notes.data == OPENAI
    assert model.requests[0]["stream_options"] == {"include_usage": True}


def test_a_caller_who_asked_for_usage_gets_it(notes: Notes, model: Model) -> None:
    client = notes.wrap(openai_client(model), "acme")
    options: Any = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, stream_options=options
        )
    )
    assert chunks[-1].usage is not None
    assert notes.data == OPENAI


def test_a_server_that_refuses_stream_options_need_not_be_asked(notes: Notes, model: Model) -> None:
    model.refuses_options = True
    client = notes.wrap(openai_client(model), "acme", ask_usage=False)
    assert len(list(client.chat.completions.create(model=MODEL, messages=ASK, stream=True))) == 5
    assert notes.data["estimated"] is True
    assert (notes.data["input_tokens"], notes.data["output_tokens"]) == (10, 5)


def test_a_stream_that_breaks_is_counted_as_an_estimate(notes: Notes, model: Model) -> None:
    model.breaks = 3
    client = notes.wrap(openai_client(model), "acme")
    seen = []

    def read() -> None:
        for chunk in client.chat.completions.create(model=MODEL, messages=ASK, stream=True):
            seen.append(chunk)

    with pytest.raises(openai.APIConnectionError):
        read()
    assert len(seen) == 3
    expected = {"input_tokens": 10, "output_tokens": 3, "estimated": True}
    assert expected.items() <= notes.data.items()
    assert notes.data["estimate"] == "characters/4"


@pytest.mark.parametrize("way", ["close", "with", "break"])
def test_a_stream_that_is_left_early_is_counted_once_as_an_estimate(
    notes: Notes, model: Model, way: str
) -> None:
    client = notes.wrap(openai_client(model), "acme")
    stream = client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    if way == "with":
        with stream:
            next(iter(stream))
            next(iter(stream))
    else:
        next(stream)
        next(stream)
        if way == "close":
            stream.close()
    del stream
    gc.collect()
    assert notes.data["output_tokens"] == 2
    assert notes.data["estimated"] is True


def test_a_call_that_fails_costs_nothing(notes: Notes, model: Model) -> None:
    model.refuses_options = True
    client = notes.wrap(openai_client(model), "acme")
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    assert notes.noted == []


def test_responses_and_embeddings_are_counted_too(notes: Notes, model: Model) -> None:
    client = notes.wrap(openai_client(model), "acme")
    client.responses.create(model=MODEL, input="hello")
    list(client.responses.create(model=MODEL, input="hello", stream=True))
    client.embeddings.create(model=MODEL, input="hello", encoding_format="float")
    whole, streamed, embedded = (data for _, _, data in notes.noted)
    assert whole == streamed == OPENAI | {"operation": "responses", "reasoning_tokens": 2}
    assert (embedded["operation"], embedded["input_tokens"]) == ("embeddings", 6)


def test_anthropic_messages_are_counted_with_cached_tokens_inside_the_input(
    notes: Notes, model: Model
) -> None:
    client = notes.wrap(anthropic_client(model), "acme")
    client.messages.create(model=MODEL, messages=ASK, max_tokens=10)
    assert notes.data == ANTHROPIC


def test_an_anthropic_stream_is_counted(notes: Notes, model: Model) -> None:
    client = notes.wrap(anthropic_client(model), "acme")
    for _ in client.messages.create(model=MODEL, messages=ASK, max_tokens=10, stream=True):
        pass
    assert notes.data == ANTHROPIC


def test_an_anthropic_stream_left_early_keeps_what_it_had_said(notes: Notes, model: Model) -> None:
    client = notes.wrap(anthropic_client(model), "acme")
    with client.messages.create(model=MODEL, messages=ASK, max_tokens=10, stream=True) as stream:
        for event in stream:
            if event.type == "content_block_delta" and event.delta.text == WORDS[2]:  # type: ignore[union-attr]
                break
    assert (notes.data["input_tokens"], notes.data["output_tokens"]) == (12, 3)
    assert notes.data["estimated"] is True


def test_the_anthropic_stream_helper_is_counted(notes: Notes, model: Model) -> None:
    client = notes.wrap(anthropic_client(model), "acme")
    with client.messages.stream(model=MODEL, messages=ASK, max_tokens=10) as stream:
        assert list(stream.text_stream) == WORDS
    assert notes.data == ANTHROPIC


def test_the_anthropic_stream_helper_left_early_is_an_estimate(notes: Notes, model: Model) -> None:
    client = notes.wrap(anthropic_client(model), "acme")
    with client.messages.stream(model=MODEL, messages=ASK, max_tokens=10) as stream:
        next(stream.text_stream)
        next(stream.text_stream)
    assert notes.data["output_tokens"] == 2
    assert notes.data["estimated"] is True


def test_asyncio_clients_are_counted_alike(notes: Notes, model: Model) -> None:
    async def story() -> None:
        async with openai.AsyncOpenAI(base_url=f"{model.url}/v1", api_key="k") as raw:
            client = notes.wrap(raw, "acme")
            await client.chat.completions.create(model=MODEL, messages=ASK)
            stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
            assert [chunk.choices[0].delta.content async for chunk in stream] == WORDS
        async with anthropic.AsyncAnthropic(base_url=model.url, api_key="k") as other:
            claude = notes.wrap(other, "acme")
            await claude.messages.create(model=MODEL, messages=ASK, max_tokens=10)
            async with claude.messages.stream(model=MODEL, messages=ASK, max_tokens=10) as helper:
                assert [word async for word in helper.text_stream] == WORDS

    asyncio.run(story())
    assert [data for _, _, data in notes.noted] == [OPENAI, OPENAI, ANTHROPIC, ANTHROPIC]


def test_the_customer_may_be_asked_for_at_each_call(notes: Notes, model: Model) -> None:
    current = iter(["acme", "zeta"])
    client = notes.wrap(openai_client(model), lambda: next(current), type="ai")
    for _ in range(2):
        client.with_options(timeout=5).chat.completions.create(model=MODEL, messages=ASK)
    assert [(who, kind) for who, kind, _ in notes.noted] == [("acme", "ai"), ("zeta", "ai")]


def test_counting_never_breaks_the_call(
    notes: Notes, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **more: Mapping[str, Any]) -> str:
        raise RuntimeError("no")

    monkeypatch.setattr(notes, "track", fail)
    client = notes.wrap(openai_client(model), "acme")
    assert client.chat.completions.create(model=MODEL, messages=ASK).model == MODEL
    assert len(list(client.chat.completions.create(model=MODEL, messages=ASK, stream=True))) == 5


def test_everything_else_is_the_clients_own(notes: Notes, model: Model) -> None:
    raw = openai_client(model)
    client = notes.wrap(raw, "acme")
    assert client.api_key == "k"
    assert client.models.list == raw.models.list
    with pytest.raises(AttributeError):
        client.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_what_is_no_client_is_refused(notes: Notes) -> None:
    with pytest.raises(TypeError, match="no client"):
        notes.wrap(object(), "acme")
