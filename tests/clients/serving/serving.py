"""A client's program, told what to do by lines of JSON: one command in, its answer out.

It tells ``{"ready": true}`` first. ``{"do": verb, …}`` comes in; out go ``{"piece": text}`` as
pieces of a stream arrive, and at the end ``{"result": …}`` or ``{"failure": …}``.
"""

import asyncio
import base64
import inspect
import json
import os
import sys
import traceback

OUT = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # what a library prints is no answer

WEATHER = {"Oslo": "7 degrees", "Lima": "19 degrees"}
TOLD = []
"""The cities that the weather was asked for, in order."""


def get_weather(city: str) -> str:
    """The weather in a city."""
    TOLD.append(city)
    return WEATHER[city]


WEATHER_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def tell(**line):
    OUT.write(json.dumps(line) + "\n")
    OUT.flush()


def piece(text):
    """Tell of a piece of a stream."""
    if text:
        tell(piece=text)


def gathered(texts):
    """Tell of each text as it comes, and return all of them."""
    said = ""
    for text in texts:
        piece(text)
        said += text or ""
    return said


def picture_bytes(data_url):
    """The bytes of a picture that a data URL holds."""
    return base64.b64decode(data_url.partition(",")[2])


def serve(verbs):
    """Answer commands until there are no more; ``verbs`` is a module or class of functions."""
    tell(ready=True)
    for line in sys.stdin:
        command = json.loads(line)
        TOLD.clear()
        try:
            result = getattr(verbs, command.pop("do"))(**command)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
        except Exception as error:  # noqa: BLE001 - whatever a client raises is its answer
            traceback.print_exc()
            tell(failure=_failure(error))
        else:
            tell(result=result)


def _failure(error):
    """What a client tells of an error, its causes included."""
    status, messages = None, []
    while error is not None:
        messages.append(str(error))
        status = status or getattr(error, "status_code", None)
        error = error.__cause__ or error.__context__
    return {"status": status, "message": "\n".join(messages)}
