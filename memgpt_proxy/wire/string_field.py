"""One string field of a JSON object, decoded while the object's text arrives.

A model writes the arguments of a function call piece by piece; this shows the text of one of them,
such as a reply's `message`, as it is written.
"""

import re
from collections.abc import Callable

from memgpt_proxy.wire.nesting import ValueEnd

_SPACE = re.compile(r"[ \t\r\n]*")
_BETWEEN_FIELDS = re.compile(r"[ \t\r\n,]*")
_BEFORE_OBJECT = re.compile(r'[^{"\[]*')
_SPECIAL = re.compile(r'["\\]')
_SCALAR_END = re.compile(r"[,}]")
_HEX = re.compile(r"[0-9a-fA-F]{0,4}")
_LOW_SURROGATE = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_LOW_SURROGATE_BEGUN = re.compile(r"(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?")
_ESCAPES = {
    '"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "'": "'",
}  # fmt: skip
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class StringFieldDecoder:
    """Gives the text of the top-level string field `field`, as far as it is known.

    `found` is set once the field's value begins, `complete` once its string is closed, or once the
    value proves to be no string. Of a field that appears twice, the first counts. Text that is no
    JSON object gives nothing.
    """

    __slots__ = ("_field", "_held", "_key", "_out", "_skipped", "_state", "complete", "found")

    def __init__(self, field: str) -> None:
        self.found = False
        self.complete = False
        self._field = field
        self._held = ""  # text that cannot be read before more of it has come
        self._key: list[str] = []
        self._out: list[str] = []
        self._skipped = ValueEnd()
        self._state: _State = StringFieldDecoder._before_object

    def feed(self, fragment: str) -> str:
        """Take the next fragment of the object's text; return what it adds to the field's text."""
        reading = self._state is StringFieldDecoder._text and not self._held
        if reading and not _SPECIAL.search(fragment):
            return fragment
        text = self._held + fragment
        position = 0
        while position < len(text):
            state, start = self._state, position
            position = state(self, text, start)
            if position == start and self._state is state:
                break
        self._held = text[position:]
        decoded = "".join(self._out)
        self._out.clear()
        return decoded

    # Each state reads `text` from `position` and returns where it stopped. One that neither moves
    # nor changes the state waits for more text.

    def _before_object(self, text: str, position: int) -> int:
        position = _end(_BEFORE_OBJECT, text, position)
        if position < len(text):
            opened = text[position] == "{"
            self._state = StringFieldDecoder._before_key if opened else StringFieldDecoder._over
        return position + 1

    def _before_key(self, text: str, position: int) -> int:
        position = _end(_BETWEEN_FIELDS, text, position)
        if position < len(text):
            opened = text[position] == '"'
            self._state = StringFieldDecoder._in_key if opened else StringFieldDecoder._over
        return position + 1

    def _in_key(self, text: str, position: int) -> int:
        position, closed = _decode(text, position, self._key)
        if closed:
            self._state = StringFieldDecoder._before_colon
        return position

    def _before_colon(self, text: str, position: int) -> int:
        position = _end(_SPACE, text, position)
        if position < len(text):
            found = text[position] == ":"
            self._state = StringFieldDecoder._before_value if found else StringFieldDecoder._over
        return position + 1

    def _before_value(self, text: str, position: int) -> int:
        position = _end(_SPACE, text, position)
        if position == len(text):
            return position
        is_string = text[position] == '"'
        if "".join(self._key) == self._field:
            self.found = True
            self.complete = not is_string
            self._state = StringFieldDecoder._text if is_string else StringFieldDecoder._over
            return position + 1
        self._key.clear()
        self._skipped = ValueEnd()
        nested = is_string or text[position] in "{["
        self._state = StringFieldDecoder._other_value if nested else StringFieldDecoder._scalar
        return position

    def _other_value(self, text: str, position: int) -> int:
        end = self._skipped.find(text, position)
        if end < 0:
            return len(text)
        self._state = StringFieldDecoder._before_key
        return end

    def _scalar(self, text: str, position: int) -> int:
        match = _SCALAR_END.search(text, position)
        if match is None:
            return len(text)
        self._state = StringFieldDecoder._before_key
        return match.start()

    def _text(self, text: str, position: int) -> int:
        position, self.complete = _decode(text, position, self._out)
        if self.complete:
            self._state = StringFieldDecoder._over
        return position

    def _over(self, text: str, position: int) -> int:
        return len(text)


_State = Callable[[StringFieldDecoder, str, int], int]


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _decode(text: str, position: int, out: list[str]) -> tuple[int, bool]:
    """Decode a string's text into `out`; return where it stopped, and whether the string closed.

    An escape that is not all there stays unread.
    """
    while special := _SPECIAL.search(text, position):
        out.append(text[position : special.start()])
        position = special.start()
        if special[0] == '"':
            return position + 1, True
        character, length = _escape(text, position)
        if not length:
            return position, False
        out.append(character)
        position += length
    out.append(text[position:])
    return len(text), False


def _escape(text: str, position: int) -> tuple[str, int]:
    """Return the character that an escape stands for, and its length in `text`.

    The length is 0 while the escape, or the surrogate pair that it begins, is unfinished. What is
    no escape of JSON's is left as it was written.
    """
    if position + 1 == len(text):
        return "", 0
    letter = text[position + 1]
    if letter != "u":
        return _ESCAPES.get(letter, "\\" + letter), 2
    digits = text[position + 2 : _end(_HEX, text, position + 2)]
    if len(digits) == 4:
        return _code_point(int(digits, 16), text, position + 6)
    if position + 2 + len(digits) == len(text):
        return "", 0
    return "\\u", 2


def _code_point(code: int, text: str, after: int) -> tuple[str, int]:
    """As _escape, for the code of a finished escape that ends at `after`."""
    if not 0xD800 <= code <= 0xDFFF:
        return chr(code), 6
    if code >= 0xDC00:
        return _REPLACEMENT, 6
    if low := _LOW_SURROGATE.match(text, after):
        return chr(0x10000 + ((code & 0x3FF) << 10) + (int(low[1], 16) & 0x3FF)), 12
    if _LOW_SURROGATE_BEGUN.fullmatch(text, after):
        return "", 0
    return _REPLACEMENT, 6
