"""LlamaIndex, by its ``OpenAILike``."""

import asyncio
import sys

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from serving import TOLD, get_weather, picture_bytes, piece, serve

weather = FunctionTool.from_defaults(get_weather)


class Person(BaseModel):
    name: str
    age: int


def model(at):
    return OpenAILike(
        model=at["model"],
        api_base=at["base_url"],
        api_key=at["api_key"],
        context_window=32768,
        is_chat_model=True,
        is_function_calling_model=True,
        should_use_structured_outputs=True,
    )


def ask(at, prompts, stream=False, picture=None):
    history, texts, raw = [], [], None
    for prompt in prompts:
        history.append(ChatMessage(role="user", blocks=blocks(prompt, picture)))
        answer = chat(at, history, stream)
        raw = answer.raw
        history.append(answer.message)
        texts.append(answer.message.content)
    return {"texts": texts, "usage": counts(raw)}


def counts(raw):
    usage = getattr(raw, "usage", None)
    if usage is None:
        return None
    return {"input": usage.prompt_tokens, "output": usage.completion_tokens}


def blocks(prompt, picture):
    said = [TextBlock(text=prompt)]
    if picture is not None:
        said.append(ImageBlock(image=picture_bytes(picture), image_mimetype="image/png"))
    return said


def chat(at, history, stream):
    if not stream:
        return model(at).chat(history)
    answer = None
    for answer in model(at).stream_chat(history, stream_options={"include_usage": True}):
        piece(answer.delta)
    return answer


def use_tools(at, prompt, stream=False):
    llm, history = model(at), [ChatMessage(role="user", content=prompt)]
    while True:
        answer = calling(llm, history, stream)
        calls = llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False)
        history.append(answer.message)
        if not calls:
            return {"text": answer.message.content, "told": TOLD}
        for call in calls:
            result = str(weather(**call.tool_kwargs))
            about = {"tool_call_id": call.tool_id}
            history.append(ChatMessage(role="tool", content=result, additional_kwargs=about))


def calling(llm, history, stream):
    options = {"chat_history": history, "allow_parallel_tool_calls": True}
    if not stream:
        return llm.chat_with_tools([weather], **options)
    answer = None
    for answer in llm.stream_chat_with_tools([weather], **options):
        piece(answer.delta)
    return answer


def structured(at, prompt):
    said = model(at).as_structured_llm(Person).chat([ChatMessage(role="user", content=prompt)])
    return {"value": said.raw.model_dump()}


async def leave(at, prompt):
    # Closing its generator leaves the connection open; cancelling the task that reads does not.
    heard = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read(model(at), prompt, heard))
        await heard.wait()
        reading.cancel()


async def read(llm, prompt, heard):
    async for answer in await llm.astream_chat([ChatMessage(role="user", content=prompt)]):
        if answer.delta:
            heard.set()


serve(sys.modules[__name__])
