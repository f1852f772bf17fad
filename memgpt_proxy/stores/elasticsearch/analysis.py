r"""How texts become terms, so that searches mean what ``memgpt_proxy.stores.query`` says.

``words`` are found by stem, without case and diacritics. ``written`` keeps a text as it is
written, case aside: words, every other character and each run of white space are terms of their
own, so that a phrase of them is found just where it stands like that. In scripts that are written
without spaces each character is a term. Terms are bounded, since Lucene takes none of 32 kB.
"""

from __future__ import annotations

from typing import Any

UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f"
    r"\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\x{20000}-\x{3ffff}"
)
"""The characters of ``query.UNSPACED``."""

LONGEST_WORD = 200
"""Characters of a term."""

_LETTER = rf"[\p{{L}}\p{{N}}&&[^{UNSPACED}]]"
_WORD = rf"{_LETTER}[\p{{L}}\p{{N}}\p{{M}}&&[^{UNSPACED}]]{{0,{LONGEST_WORD - 1}}}"
_SPACE = r"[\s\p{Z}\x1c-\x1f\x85]+"
_OTHER = r"[\s\S]"

ANALYSIS: dict[str, Any] = {
    "tokenizer": {
        "words": {"type": "pattern", "pattern": _WORD, "group": 0},
        "written": {"type": "pattern", "pattern": rf"{_WORD}|{_SPACE}|{_OTHER}", "group": 0},
    },
    "filter": {
        "marks": {"type": "pattern_replace", "pattern": r"\p{Mn}+", "replacement": ""},
        "spaces": {"type": "pattern_replace", "pattern": rf"^{_SPACE}$", "replacement": " "},
        "stems": {"type": "porter_stem"},
    },
    "analyzer": {
        "words": {
            "type": "custom",
            "tokenizer": "words",
            "filter": ["lowercase", "asciifolding", "marks", "stems"],
        },
        "written": {"type": "custom", "tokenizer": "written", "filter": ["lowercase", "spaces"]},
    },
}
