"""Pydantic AI."""

import sys

from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from serving import TOLD, get_weather, picture_bytes, piece, serve


class Person(BaseModel):
    name: str
    age: int


def model(at):
    provider = OpenAIProvider(base_url=at["base_url"], api_key=at["api_key"])
    kind = OpenAIResponsesModel if at["way"] == "responses" else OpenAIChatModel
    return kind(at["model"], provider=provider)


async def run(agent, prompt, history, stream):
    """The agent's answer with all messages, and what it took."""
    if not stream:
        result = await agent.run(prompt, message_history=history)
        return result.output, result
    async with agent.run_stream(prompt, message_history=history) as result:
        said = ""
        async for text in result.stream_text(delta=True, debounce_by=None):
            piece(text)
            said += text
    return said, result


async def ask(at, prompts, stream=False, picture=None):
    agent, history, texts, usage = Agent(model(at)), [], [], None
    for prompt in prompts:
        said, result = await run(agent, content(prompt, picture), history, stream)
        usage = result.usage
        history = result.all_messages()
        texts.append(said)
    usage = usage() if callable(usage) else usage
    return {
        "texts": texts,
        "usage": {"input": usage.input_tokens, "output": usage.output_tokens},
    }


def content(prompt, picture):
    if picture is None:
        return prompt
    return [prompt, BinaryContent(data=picture_bytes(picture), media_type="image/png")]


async def use_tools(at, prompt, stream=False):
    agent = Agent(model(at), tools=[get_weather])
    said, _ = await run(agent, prompt, None, stream)
    return {"text": said, "told": TOLD}


async def structured(at, prompt):
    agent = Agent(model(at), output_type=NativeOutput(Person))
    return {"value": (await agent.run(prompt)).output.model_dump()}


async def leave(at, prompt):
    async with Agent(model(at)).run_stream(prompt) as result:
        async for text in result.stream_text(delta=True, debounce_by=None):
            if text:
                break


serve(sys.modules[__name__])
