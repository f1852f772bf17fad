"""LangChain's ``langchain-openai``."""

import sys

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from serving import TOLD, get_weather, piece, serve

weather = tool(get_weather)


class Person(BaseModel):
    """Who somebody is."""

    name: str
    age: int


def chat(at):
    return ChatOpenAI(
        model=at["model"],
        base_url=at["base_url"],
        api_key=at["api_key"],
        stream_usage=True,
        use_responses_api=at["way"] == "responses",
    )


def said_by(chat, history, stream):
    if not stream:
        return chat.invoke(history)
    whole = None
    for chunk in chat.stream(history):
        piece(chunk.text)
        whole = chunk if whole is None else whole + chunk
    return whole


def ask(at, prompts, stream=False, picture=None):
    history, texts, usage = [], [], None
    for prompt in prompts:
        history.append(HumanMessage(content(prompt, picture)))
        message = said_by(chat(at), history, stream)
        usage = message.usage_metadata
        history.append(message)
        texts.append(message.text)
    return {
        "texts": texts,
        "usage": {"input": usage["input_tokens"], "output": usage["output_tokens"]},
    }


def content(prompt, picture):
    if picture is None:
        return prompt
    data = picture.partition(",")[2]
    shown = {"type": "image", "base64": data, "mime_type": "image/png"}
    return [{"type": "text", "text": prompt}, shown]


def use_tools(at, prompt, stream=False):
    history = [HumanMessage(prompt)]
    with_tools = chat(at).bind_tools([weather])
    while True:
        message = said_by(with_tools, history, stream)
        history.append(message)
        if not message.tool_calls:
            return {"text": message.text, "told": TOLD}
        history += [weather.invoke(call) for call in message.tool_calls]


def structured(at, prompt):
    return {"value": chat(at).with_structured_output(Person).invoke(prompt).model_dump()}


def leave(at, prompt):
    chunks = chat(at).stream(prompt)
    while not next(chunks).text:
        pass
    chunks.close()


serve(sys.modules[__name__])
