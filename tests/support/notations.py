"""How models write a call where the server leaves that in the content, model by model.

What each was trained on is told by the parsers of github.com/vllm-project/vllm, vllm/tool_parsers
(02bb669 and others of 2026): the file is named. What Groq tells in ``failed_generation`` is told in
github.com/huggingface/smolagents issue 1119, groq/groq-typescript 28 and 103, and others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Notation = Callable[[str, dict[str, Any]], str]
"""Writes the call of a function, by its name and its arguments, none of them empty."""


def _json(name: str, arguments: dict[str, Any], form: str) -> str:
    """The call where both stand as they are: ``NAME`` and ``§`` in the form."""
    return form.replace("NAME", name).replace("§", json.dumps(arguments, ensure_ascii=False))


def _in(form: str) -> Notation:
    return lambda name, arguments: _json(name, arguments, form)


def _tagged(around: str, each: str, between: str = "\n") -> Notation:
    """Each argument between tags: ``KEY`` and ``VALUE``, text as it is and all else in JSON."""

    def write(name: str, arguments: dict[str, Any]) -> str:
        told = (
            each.replace("KEY", key).replace(
                "VALUE", value if isinstance(value, str) else json.dumps(value)
            )
            for key, value in arguments.items()
        )
        return around.replace("NAME", name).replace("EACH", between.join(told))

    return write


def _python(around: str) -> Notation:
    def write(name: str, arguments: dict[str, Any]) -> str:
        told = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        return around.replace("CALL", f"{name}({told})")

    return write


NOTATIONS: dict[str, Notation] = {
    # mistral_tool_parser.py: before version 11 of its tokenizer, since then, and in between
    "Mistral, a list": _in('[TOOL_CALLS][{"name": "NAME", "arguments": §}]'),
    "Mistral": _in("[TOOL_CALLS]NAME§"),
    "Mistral, with marks": _in("[TOOL_CALLS]NAME[ARGS]§"),
    "Mistral, with an id": _in("[TOOL_CALLS]NAME[CALL_ID]a1b2c3d4e[ARGS]§"),
    # llama_tool_parser.py, llama4_pythonic_tool_parser.py; Meta's prompts for custom tools
    "Llama 3, with its tag": _in('<|python_tag|>{"name": "NAME", "parameters": §}'),
    "Llama 3, a custom tool": _in("<function=NAME>§</function>"),
    "Llama 3, and its end": _in("<function=NAME>§</function><|eom_id|>"),
    # Groq, of the same
    "Llama 3, its tag left open": _in("<function=NAME§</function>"),
    "Llama 3, applied": _in("<function=NAME(§)</function>"),
    "Llama 3, another way": _in("<function=NAME=§</function>"),
    "Llama 3, without its tag": _in("NAME§</function>"),
    "Llama 3, in a tag of its own": _in(
        '<tool-use>\n{"tool_calls": [{"id": "pending", "type": "function", "function": '
        '{"name": "NAME", "arguments": §}}]}\n</tool-use>'
    ),
    # hermes_tool_parser.py; qwen3coder_tool_parser.py; glm4_moe_tool_parser.py, glm47_moe_…
    "Hermes": _in('<tool_call>\n{"name": "NAME", "arguments": §}\n</tool_call>'),
    "Qwen3-Coder": _tagged(
        "<tool_call>\n<function=NAME>\nEACH\n</function>\n</tool_call>",
        "<parameter=KEY>\nVALUE\n</parameter>",
    ),
    "Qwen3-Coder, its tag lost": _tagged(
        "<function=NAME>\nEACH\n</function>\n</tool_call>", "<parameter=KEY>\nVALUE\n</parameter>"
    ),
    "GLM-4.5": _tagged(
        "<tool_call>NAME\nEACH\n</tool_call>",
        "<arg_key>KEY</arg_key>\n<arg_value>VALUE</arg_value>",
    ),
    "GLM-4.7": _tagged(
        "<tool_call>NAMEEACH</tool_call>", "<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>", ""
    ),
    # deepseekv3_tool_parser.py, deepseekv31_…, deepseekv32_…
    "DeepSeek V3": _in(
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\n§\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "DeepSeek V3.1": _in(
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>NAME<｜tool▁sep｜>§<｜tool▁call▁end｜>"
        "<｜tool▁calls▁end｜>"
    ),
    "DeepSeek V3.2": _tagged(
        '<｜DSML｜function_calls>\n<｜DSML｜invoke name="NAME">\nEACH\n</｜DSML｜invoke>\n'
        "</｜DSML｜function_calls>",
        '<｜DSML｜parameter name="KEY" string="true">VALUE</｜DSML｜parameter>',
    ),
    # kimi_k2_tool_parser.py; openai_tool_parser.py (harmony), and with a server's tokens left out
    "Kimi": _in(
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:0"
        "<|tool_call_argument_begin|>§<|tool_call_end|><|tool_calls_section_end|>"
    ),
    "gpt-oss": _in("<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>§<|call|>"),
    "gpt-oss, without its tokens": _in("commentary to=functions.NAME json§"),
    # granite_tool_parser.py; phi4mini_tool_parser.py; jamba_…, nemotron_json_…, hunyuan_a13b_…
    "Granite": _in('<|tool_call|>[{"name": "NAME", "arguments": §}]'),
    "Phi-4-mini": _in('functools[{"name": "NAME", "arguments": §}]'),
    "Jamba": _in('<tool_calls>[\n{"name": "NAME", "arguments": §}\n]</tool_calls>'),
    "Nemotron": _in('<TOOLCALL>[{"name": "NAME", "arguments": §}]</TOOLCALL>'),
    "Command R": _in(
        '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "NAME", "parameters": §}]'
        "<|END_ACTION|>"
    ),
    # minimax_m2_tool_parser.py; Claude's older form; seed_oss_…, longcat_…
    "MiniMax": _tagged(
        '<minimax:tool_call>\n<invoke name="NAME">\nEACH\n</invoke>\n</minimax:tool_call>',
        '<parameter name="KEY">VALUE</parameter>',
    ),
    "Claude": _tagged(
        '<function_calls>\n<invoke name="NAME">\nEACH\n</invoke>\n</function_calls>',
        '<parameter name="KEY">VALUE</parameter>',
    ),
    "Seed": _tagged(
        "<seed:tool_call>\n<function=NAME>\nEACH\n</function>\n</seed:tool_call>",
        "<parameter=KEY>VALUE</parameter>",
    ),
    "LongCat": _in('<longcat_tool_call>{"name": "NAME", "arguments": §}</longcat_tool_call>'),
    # JSON under other names, as agents' prompts ask for it
    "an action": _in('{"action": "NAME", "action_input": §}'),
    "a tool": _in('{"tool": "NAME", "args": §}'),
    "a prefix": _in('{"name": "functions.NAME", "arguments": §}'),
    "arguments first": _in('{"arguments": §, "name": "NAME"}'),
    "a function_call": _in('{"function_call": {"name": "NAME", "arguments": §}}'),
}
"""Of any function, the client's, too."""

OWN_NOTATIONS: dict[str, Notation] = {
    **NOTATIONS,
    # pythonic_tool_parser.py, llama4_pythonic_…, olmo3_…, lfm2_…; Gemini's and Gemma's
    "Python": _python("CALL"),
    "Python, a list": _python("[CALL]"),
    "Olmo 3": _python("<function_calls>\nCALL\n</function_calls>"),
    "LFM2": _python("<|tool_call_start|>[CALL]<|tool_call_end|>"),
    "Gemini": _python("```tool_code\nCALL\n```"),
    "Gemini, printed": _python("```tool_code\nprint(default_api.CALL)\n```"),
    "a fence of Python": _python("```python\nCALL\n```"),
    "ReAct": _in("Action: NAME\nAction Input: §"),
    "the name as a key": _in('{"NAME": §}'),
}
"""Of ours: the same text about another function may be meant for a person."""
