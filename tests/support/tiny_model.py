"""A tiny language model for a real server: random weights, half a megabyte, the same every time.

It talks nonsense, but its tokens, chat template and tool-call grammar are real. The vocabulary is
single bytes, printable characters and common words. How likely each token is at all is steered by
one trick: dimension 0 of every embedding holds a constant that no layer writes to, so that column 0
of the output matrix is a bias per token.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

LAYERS = 2
WIDTH = 64
HEADS = 4
HIDDEN = 128
CONSTANT = 4.0
NEVER = -30.0

WORDS = """\
a about after again all also and any are as at back because been before but by came can come
could day did do even fact find first for from get give go good had has have her him his how if
in into is it just know like little look made make many may me memory more most much must my
name new no not note now number of on one only or other our out over people place right said
same say see she so some take tell than that the their them then there these they thing think
this those time to two up us use user very want was water way we well were what when where
which who will with word work would year you your
"""

TEMPLATE = """\
{%- set ns = namespace(system='') -%}
{%- if messages and messages[0].role == 'system' -%}
  {%- set ns.system = messages[0].content -%}
{%- endif -%}
{%- if ns.system or tools -%}
<|im_start|>system
{{ ns.system }}
{%- if tools %}

Functions, one JSON object a line:
{%- for tool in tools %}
{{ tool.function | tojson }}
{%- endfor %}
To use one, write <tool_call>{"name": "…", "arguments": {…}}</tool_call>
{%- endif %}<|im_end|>
{% endif -%}
{%- for message in messages -%}
{%- if message.role == 'system' and loop.first -%}
{%- elif message.role == 'tool' -%}
<|im_start|>user
<tool_response>{{ message.content }}</tool_response><|im_end|>
{% else -%}
<|im_start|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
<tool_call>{"name": "{{ call.function.name }}", "arguments": {{ '' -}}
{{ call.function.arguments | tojson }}}</tool_call>
{%- endfor %}<|im_end|>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of the vocabulary and the logit its bias alone gives it in free text."""

    piece: str
    kind: gguf.TokenType
    bias: float = NEVER
    steady: bool = False
    """Whether the bias alone decides, with no noise from the random weights."""


def vocabulary(end_bias: float, call_bias: float) -> list[Token]:
    """All tokens in order of their ids.

    Args:
        end_bias: how soon a reply ends.
        call_bias: how readily a tool call is begun.
    """
    kinds = gguf.TokenType
    tokens = [
        Token("<unk>", kinds.UNKNOWN),
        Token("<s>", kinds.CONTROL),
        Token("<|im_start|>", kinds.CONTROL),
        Token("<|im_end|>", kinds.CONTROL, end_bias, steady=True),
        Token("<tool_call>", kinds.USER_DEFINED, call_bias, steady=True),
        Token("</tool_call>", kinds.USER_DEFINED, -0.5, steady=True),
    ]
    tokens += [Token(f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)]
    tokens += [_character(chr(code)) for code in range(0x21, 0x7F)]
    tokens.append(Token("\u2581", kinds.NORMAL, -3.0))
    tokens += [Token("\u2581" + word, kinds.NORMAL, 0.0) for word in WORDS.split()]
    tokens += [Token(role, kinds.NORMAL, -3.0) for role in ("system", "user", "assistant", "tool")]
    return tokens


def _character(character: str) -> Token:
    # What closes a JSON string, array or object is likely, so that constrained output ends.
    closing = {'"': 2.0, "}": -1.0, "]": -1.0, ",": -2.5}
    punctuation = {".": -0.5, "?": -0.5}
    bias = closing.get(character, punctuation.get(character, -3.0))
    return Token(character, gguf.TokenType.NORMAL, bias, steady=character in closing)


def write_tiny_model(
    path: Path, *, window: int = 32768, end_bias: float = 2.0, call_bias: float = 1.0
) -> Path:
    """Write the model as a GGUF file and return its path.

    Args:
        path: the file to write.
        window: the context window it was "trained" for, in tokens.
        end_bias: how soon a reply ends (a logit).
        call_bias: how readily tools are called on their own account (a logit).
    """
    tokens = vocabulary(end_bias, call_bias)
    writer = gguf.GGUFWriter(path, "llama")
    _add_shape(writer, window)
    _add_vocabulary(writer, tokens)
    for name, tensor in weights(tokens).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_shape(writer: gguf.GGUFWriter, window: int) -> None:
    writer.add_name("tiny-random")
    writer.add_context_length(window)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _add_vocabulary(writer: gguf.GGUFWriter, tokens: list[Token]) -> None:
    pieces = [token.piece for token in tokens]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([piece.encode() for piece in pieces])
    # Longer pieces score higher, so text becomes words where it can; bytes are the last resort.
    is_byte = [token.kind == gguf.TokenType.BYTE for token in tokens]
    writer.add_token_scores(
        [
            -1000.0 if byte else float(len(piece))
            for byte, piece in zip(is_byte, pieces, strict=True)
        ]
    )
    writer.add_token_types([int(token.kind) for token in tokens])
    writer.add_unk_token_id(pieces.index("<unk>"))
    writer.add_bos_token_id(pieces.index("<s>"))
    writer.add_eos_token_id(pieces.index("<|im_end|>"))
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def weights(tokens: list[Token]) -> dict[str, NDArray[np.float32]]:
    """Every tensor of the model by its name in the file."""
    random = np.random.default_rng(0)

    def normal(rows: int, columns: int, scale: float) -> NDArray[np.float32]:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    def silent(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        matrix[0] = 0  # this layer leaves the constant dimension alone
        return matrix

    ones = np.ones(WIDTH, np.float32)
    inner, outer = WIDTH**-0.5, HIDDEN**-0.5
    embedding = normal(len(tokens), WIDTH, 1.0)
    embedding[:, 0] = CONSTANT
    tensors = {"token_embd.weight": embedding, "output_norm.weight": ones}
    tensors["output.weight"] = _output(tokens, normal(len(tokens), WIDTH, inner))
    for layer in range(LAYERS):
        block = {
            "attn_norm": ones,
            "ffn_norm": ones,
            "attn_q": normal(WIDTH, WIDTH, inner),
            "attn_k": normal(WIDTH, WIDTH, inner),
            "attn_v": normal(WIDTH, WIDTH, inner),
            "attn_output": silent(normal(WIDTH, WIDTH, 0.5 * inner)),
            "ffn_gate": normal(HIDDEN, WIDTH, inner),
            "ffn_up": normal(HIDDEN, WIDTH, inner),
            "ffn_down": silent(normal(WIDTH, HIDDEN, 0.5 * outer)),
        }
        tensors |= {f"blk.{layer}.{name}.weight": tensor for name, tensor in block.items()}
    return tensors


def _output(tokens: list[Token], noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """The output matrix: noise for chance, and in column 0 the biases."""
    for row, token in enumerate(tokens):
        if token.steady:
            noise[row] = 0
    # What the final norm leaves of the constant, were the rest of the stream unit noise.
    left = CONSTANT / np.sqrt((CONSTANT**2 + WIDTH - 1) / WIDTH)
    noise[:, 0] = [token.bias / left for token in tokens]
    return noise
