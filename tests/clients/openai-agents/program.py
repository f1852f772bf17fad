"""The OpenAI Agents SDK."""

import sys

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel
from serving import TOLD, get_weather, piece, serve

set_tracing_disabled(True)  # traces would go to OpenAI
weather = function_tool(get_weather)


class Person(BaseModel):
    name: str
    age: int


def agent(at, **options):
    kind = OpenAIResponsesModel if at["way"] == "responses" else OpenAIChatCompletionsModel
    client = AsyncOpenAI(base_url=at["base_url"], api_key=at["api_key"])
    counted = ModelSettings(include_usage=True)
    return Agent(name="Helper", model=kind(at["model"], client), model_settings=counted, **options)


async def run(agent, given, stream):
    if not stream:
        return await Runner.run(agent, given)
    result = Runner.run_streamed(agent, given)
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            piece(event.data.delta)
    return result


async def ask(at, prompts, stream=False, picture=None):
    history, texts, usage = [], [], None
    for prompt in prompts:
        history.append({"role": "user", "content": content(prompt, picture)})
        result = await run(agent(at), history, stream)
        usage = result.context_wrapper.usage
        history = result.to_input_list()
        texts.append(result.final_output)
    return {
        "texts": texts,
        "usage": {"input": usage.input_tokens, "output": usage.output_tokens},
    }


def content(prompt, picture):
    if picture is None:
        return prompt
    shown = {"type": "input_image", "image_url": picture, "detail": "auto"}
    return [{"type": "input_text", "text": prompt}, shown]


async def use_tools(at, prompt, stream=False):
    result = await run(agent(at, tools=[weather]), prompt, stream)
    return {"text": result.final_output, "told": TOLD}


async def structured(at, prompt):
    result = await run(agent(at, output_type=Person), prompt, stream=False)
    return {"value": result.final_output.model_dump()}


async def leave(at, prompt):
    result = Runner.run_streamed(agent(at), prompt)
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            break
    result.cancel()


serve(sys.modules[__name__])
