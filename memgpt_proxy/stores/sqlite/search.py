"""Terms of a query as conditions for FTS5 and LIKE.

Each term goes to FTS5 as a quoted string, so none of its characters is syntax; a word
that FTS5 splits (an address, a file name) is thereby a phrase.
"""

from __future__ import annotations


def match(terms: tuple[str, ...], namespace: str, *, every: bool) -> str:
    """Return the FTS5 expression for rows of a namespace with every, or any, of ``terms``."""
    wanted = (" AND " if every else " OR ").join(_quoted(term) for term in terms)
    return f"namespace : {_quoted(namespace)} AND text : ({wanted})"


def like(term: str) -> str:
    r"""Return the LIKE pattern (escape ``\``) for texts in which ``term`` stands.

    LIKE knows the case of ASCII letters only, so a letter beyond ASCII that has a
    case becomes "any character"; the FTS5 match beside it still asks for the letter.
    """
    return f"%{''.join(map(_like_character, term))}%"


def _quoted(term: str) -> str:
    return '"' + term.replace('"', '""') + '"'


def _like_character(character: str) -> str:
    if character in "%_\\":
        return "\\" + character
    if not character.isascii() and character.lower() != character.upper():
        return "_"
    return character
