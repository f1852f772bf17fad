"""Instructor, around the ``openai`` package."""

import sys

import instructor
from openai import OpenAI
from pydantic import BaseModel
from serving import piece, serve


class Person(BaseModel):
    name: str
    age: int


def client(at, mode=instructor.Mode.TOOLS):
    return instructor.from_openai(OpenAI(base_url=at["base_url"], api_key=at["api_key"]), mode=mode)


def ask(at, prompts, stream=False, picture=None):
    """Without a schema it hands on what the ``openai`` package gives."""
    history, texts, usage = [], [], None
    for prompt in prompts:
        history.append({"role": "user", "content": content(prompt, picture)})
        said, usage = said_by(at, history, stream)
        history.append({"role": "assistant", "content": said})
        texts.append(said)
    return {
        "texts": texts,
        "usage": {"input": usage.prompt_tokens, "output": usage.completion_tokens},
    }


def content(prompt, picture):
    if picture is None:
        return prompt
    shown = {"type": "image_url", "image_url": {"url": picture}}
    return [{"type": "text", "text": prompt}, shown]


def said_by(at, messages, stream):
    request = {"model": at["model"], "messages": messages, "response_model": None}
    if not stream:
        completion = client(at).create(**request)
        return completion.choices[0].message.content, completion.usage
    usage, texts = [], []
    counted = {"include_usage": True}
    for chunk in client(at).create(**request, stream=True, stream_options=counted):
        usage.append(chunk.usage)
        for choice in chunk.choices:
            texts.append(choice.delta.content or "")
            piece(texts[-1])
    return "".join(texts), usage[-1]


def structured(at, prompt):
    modes = [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA]
    values = [extract(client(at, mode), at["model"], prompt) for mode in modes]
    assert values[0] == values[1]
    return {"value": values[0]}


def extract(client, model, prompt):
    person = client.create(
        model=model, response_model=Person, messages=[{"role": "user", "content": prompt}]
    )
    return person.model_dump()


def leave(at, prompt):
    messages = [{"role": "user", "content": prompt}]
    chunks = client(at).create(
        model=at["model"], messages=messages, response_model=None, stream=True
    )
    while not next(chunks).choices[0].delta.content:
        pass
    chunks.close()


serve(sys.modules[__name__])
