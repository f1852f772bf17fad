"""The ``openai`` package for Python, by its Responses API."""

import json
import sys

import openai
from pydantic import BaseModel
from serving import TOLD, WEATHER_SCHEMA, get_weather, piece, serve

TOOLS = [
    {
        "type": "function",
        "name": "get_weather",
        "description": get_weather.__doc__,
        "parameters": WEATHER_SCHEMA,
        "strict": True,
    }
]


class Person(BaseModel):
    name: str
    age: int


def client(at):
    return openai.OpenAI(base_url=at["base_url"], api_key=at["api_key"])


def respond(at, stream, before=None, **request):
    request["model"] = at["model"]
    if before is not None:
        request["previous_response_id"] = before.id
    if not stream:
        return client(at).responses.create(**request)
    with client(at).responses.stream(**request) as events:
        for event in events:
            if event.type == "response.output_text.delta":
                piece(event.delta)
        return events.get_final_response()


def ask(at, prompts, stream=False, picture=None):
    texts, response = [], None
    for prompt in prompts:
        response = respond(at, stream, response, input=said(prompt, picture))
        texts.append(response.output_text)
    usage = response.usage
    return {
        "texts": texts,
        "usage": {"input": usage.input_tokens, "output": usage.output_tokens},
    }


def said(prompt, picture):
    if picture is None:
        return prompt
    shown = {"type": "input_image", "image_url": picture, "detail": "auto"}
    return [{"role": "user", "content": [{"type": "input_text", "text": prompt}, shown]}]


def use_tools(at, prompt, stream=False):
    response = respond(at, stream, input=prompt, tools=TOOLS)
    while calls := [item for item in response.output if item.type == "function_call"]:
        results = [
            {"type": "function_call_output", "call_id": call.call_id, "output": run(call)}
            for call in calls
        ]
        response = respond(at, stream, response, input=results, tools=TOOLS)
    return {"text": response.output_text, "told": TOLD}


def run(call):
    return get_weather(**json.loads(call.arguments))


def structured(at, prompt):
    response = client(at).responses.parse(model=at["model"], input=prompt, text_format=Person)
    return {"value": response.output_parsed.model_dump()}


def leave(at, prompt):
    events = client(at).responses.create(model=at["model"], input=prompt, stream=True)
    while next(events).type != "response.output_text.delta":
        pass
    events.close()


serve(sys.modules[__name__])
