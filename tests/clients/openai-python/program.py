"""The ``openai`` package for Python."""

import json
import sys

import openai
from pydantic import BaseModel
from serving import TOLD, WEATHER_SCHEMA, get_weather, piece, serve

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": get_weather.__doc__,
            "parameters": WEATHER_SCHEMA,
            "strict": True,
        },
    }
]


class Person(BaseModel):
    name: str
    age: int


def client(at):
    return openai.OpenAI(base_url=at["base_url"], api_key=at["api_key"])


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


def complete(at, messages, stream, **options):
    request = {"model": at["model"], "messages": messages, **options}
    if not stream:
        return client(at).chat.completions.create(**request)
    request["stream_options"] = {"include_usage": True}
    with client(at).chat.completions.stream(**request) as events:
        for event in events:
            if event.type == "content.delta":
                piece(event.delta)
        return events.get_final_completion()


def use_tools(at, prompt, stream=False):
    history = [{"role": "user", "content": prompt}]
    while True:
        message = complete(at, history, stream, tools=TOOLS).choices[0].message
        history.append(message)
        if not message.tool_calls:
            return {"text": message.content, "told": TOLD}
        for call in message.tool_calls:
            history.append({"role": "tool", "tool_call_id": call.id, "content": run(call)})


def run(call):
    assert call.function.name == "get_weather"
    return get_weather(**json.loads(call.function.arguments))


def structured(at, prompt):
    completion = client(at).chat.completions.parse(
        model=at["model"],
        messages=[{"role": "user", "content": prompt}],
        response_format=Person,
    )
    return {"value": completion.choices[0].message.parsed.model_dump()}


def leave(at, prompt):
    messages = [{"role": "user", "content": prompt}]
    chunks = client(at).chat.completions.create(model=at["model"], messages=messages, stream=True)
    while not next(chunks).choices[0].delta.content:
        pass
    chunks.close()


serve(sys.modules[__name__])
