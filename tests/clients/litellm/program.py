"""LiteLLM's SDK."""

import json
import sys

import litellm
from pydantic import BaseModel
from serving import TOLD, WEATHER_SCHEMA, get_weather, piece, serve

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": get_weather.__doc__,
            "parameters": WEATHER_SCHEMA,
        },
    }
]


class Person(BaseModel):
    name: str
    age: int


def complete(at, messages, stream=False, **options):
    request = {
        "model": f"openai/{at['model']}",
        "api_base": at["base_url"],
        "api_key": at["api_key"],
        "messages": messages,
        **options,
    }
    if not stream:
        return litellm.completion(**request)
    chunks = []
    usage = {"include_usage": True}
    for chunk in litellm.completion(**request, stream=True, stream_options=usage):
        chunks.append(chunk)
        if chunk.choices:
            piece(chunk.choices[0].delta.content)
    return litellm.stream_chunk_builder(chunks, messages=messages)


def ask(at, prompts, stream=False, picture=None):
    history, texts, usage = [], [], None
    for prompt in prompts:
        history.append({"role": "user", "content": content(prompt, picture)})
        completion = complete(at, history, stream)
        usage = completion.usage
        history.append(completion.choices[0].message)
        texts.append(completion.choices[0].message.content)
    return {
        "texts": texts,
        "usage": {"input": usage.prompt_tokens, "output": usage.completion_tokens},
    }


def content(prompt, picture):
    if picture is None:
        return prompt
    shown = {"type": "image_url", "image_url": {"url": picture}}
    return [{"type": "text", "text": prompt}, shown]


def use_tools(at, prompt, stream=False):
    history = [{"role": "user", "content": prompt}]
    while True:
        message = complete(at, history, stream, tools=TOOLS).choices[0].message
        history.append(message)
        if not message.tool_calls:
            return {"text": message.content, "told": TOLD}
        for call in message.tool_calls:
            result = get_weather(**json.loads(call.function.arguments))
            history.append({"role": "tool", "tool_call_id": call.id, "content": result})


def structured(at, prompt):
    messages = [{"role": "user", "content": prompt}]
    completion = complete(at, messages, response_format=Person)
    return {"value": json.loads(completion.choices[0].message.content)}


def leave(at, prompt):
    chunks = litellm.completion(
        model=f"openai/{at['model']}",
        api_base=at["base_url"],
        api_key=at["api_key"],
        messages=[{"role": "user", "content": prompt}],
        stream=True,
    )
    while not next(chunks).choices[0].delta.content:
        pass
    chunks.completion_stream.close()


serve(sys.modules[__name__])
