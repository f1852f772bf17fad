"""The content of input items, as chats have it: texts, images, files, sounds, refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from memgpt_proxy.api.checks import invalid
from memgpt_proxy.errors import InvalidRequest

Part = dict[str, Any]

_TEXTS = frozenset({"input_text", "output_text", "text"})
_BREAKPOINT = "prompt_cache_breakpoint"


def content_of(item: Mapping[str, Any], role: str, param: str) -> dict[str, Any]:
    """Return the content of a message, with its refusal if it is one. Raises InvalidRequest."""
    content = item.get("content")
    if isinstance(content, str):
        return {"content": content}
    parts = _objects(content, param)
    if role == "assistant":
        return _said(parts, param)
    return {"content": _plain([_part(part, f"{param}[{at}]") for at, part in enumerate(parts)])}


def output_of(output: object, param: str) -> Any:
    """Return what a tool has given. Raises InvalidRequest."""
    if isinstance(output, str):
        return output
    parts = _objects(output, param)
    return _plain([_part(part, f"{param}[{at}]") for at, part in enumerate(parts)])


def _said(parts: Sequence[Part], param: str) -> dict[str, Any]:
    """Return what an assistant has said, whose words are one text in a chat."""
    texts, refusals = [], []
    for at, part in enumerate(parts):
        if part["type"] == "refusal":
            refusals.append(_string(part, "refusal", f"{param}[{at}]"))
        elif part["type"] in _TEXTS:
            texts.append(_string(part, "text", f"{param}[{at}]"))
        else:
            raise _unknown(part, f"{param}[{at}]", "'output_text' and 'refusal'")
    said: dict[str, Any] = {"content": "".join(texts) if texts or not refusals else None}
    return {**said, "refusal": "".join(refusals)} if refusals else said


def _plain(parts: list[Part]) -> Any:
    """Return a single text as a string: every backend takes that."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts or ""


def _part(part: Part, param: str) -> Part:
    read = _READ.get(part["type"])
    if read is None:
        raise _unknown(part, param, "'input_text', 'input_image' and 'input_file'")
    made = read(part, param)
    if part.get(_BREAKPOINT) is not None:
        made[_BREAKPOINT] = part[_BREAKPOINT]
    return made


def _text(part: Part, param: str) -> Part:
    return {"type": "text", "text": _string(part, "text", param)}


def _image(part: Part, param: str) -> Part:
    if part.get("image_url") is None:
        raise InvalidRequest(
            f"'{param}': an image by 'file_id' cannot be shown to a chat model. Send "
            "'image_url', which may be a data URL.",
            param=f"{param}.file_id",
            code="unsupported_parameter",
        )
    image = {"url": _string(part, "image_url", param)}
    if part.get("detail") is not None:
        image["detail"] = _string(part, "detail", param)
    return {"type": "image_url", "image_url": image}


def _file(part: Part, param: str) -> Part:
    if part.get("file_url") is not None:
        raise InvalidRequest(
            f"'{param}': a file by 'file_url' cannot be given to a chat model. Send 'file_data'.",
            param=f"{param}.file_url",
            code="unsupported_parameter",
        )
    names = ("file_data", "file_id", "filename")
    file = {name: _string(part, name, param) for name in names if part.get(name) is not None}
    return {"type": "file", "file": file}


def _audio(part: Part, param: str) -> Part:
    audio = part.get("input_audio")
    if not isinstance(audio, dict):
        raise invalid(f"{param}.input_audio", "an object")
    return {"type": "input_audio", "input_audio": audio}


_READ: Mapping[str, Callable[[Part, str], Part]] = {
    **dict.fromkeys(_TEXTS, _text),
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}


def _objects(content: object, param: str) -> Sequence[Part]:
    if not isinstance(content, list):
        raise invalid(param, "a string or an array of content parts")
    for at, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise invalid(f"{param}[{at}]", "an object with a type")
    return content


def _string(part: Part, name: str, param: str) -> str:
    value = part.get(name)
    if not isinstance(value, str):
        raise invalid(f"{param}.{name}", "a string")
    return value


def _unknown(part: Part, param: str, supported: str) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid value: '{part['type']}'. Supported values are: {supported}.",
        param=f"{param}.type",
        code="invalid_value",
    )
