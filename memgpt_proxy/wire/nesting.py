"""Where a JSON value ends whose text arrives in fragments."""

import re

_STRING_REST = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_NOTABLE = re.compile(r'["{}\[\]]')


class ValueEnd:
    """Finds the end of one JSON string, object or list, without keeping or decoding its text.

    Args:
        depth: How many brackets are open already; 0 where the value is yet to begin.
    """

    __slots__ = ("_depth", "_escaped", "_in_string")

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._in_string = False
        self._escaped = False

    def find(self, text: str, start: int = 0) -> int:
        """Go on with the value at `start` of `text`; return the index behind its end, or -1.

        The first call begins at the value's opening quote or bracket, if that was not before; each
        later one where the text before it ended.
        """
        position = start
        while position < len(text):
            if self._in_string:
                position = self._leave_string(text, position)
                closed = not self._in_string
            else:
                position = self._next_notable(text, position)
                closed = position > 0 and not self._in_string
            if closed and self._depth == 0:
                return position
            if position < 0:
                break
        return -1

    def _leave_string(self, text: str, position: int) -> int:
        if self._escaped:
            self._escaped = False
            position += 1
        match = _STRING_REST.match(text, position)
        end = match.end() if match else position
        if end == len(text):
            return -1
        if text[end] == '"':
            self._in_string = False
        else:
            self._escaped = True
        return end + 1

    def _next_notable(self, text: str, position: int) -> int:
        match = _NOTABLE.search(text, position)
        if match is None:
            return -1
        mark = match[0]
        if mark == '"':
            self._in_string = True
        else:
            self._depth += 1 if mark in "{[" else -1
        return match.end()
