"""Server-sent events: bytes of a response body in, payloads of its events out.

Follows the event stream format of the HTML standard, section 9.2.6. Of an event only its data is
kept, since that is all a chat-completions backend speaks through.
"""

_BOM = b"\xef\xbb\xbf"


class StreamTooLarge(ValueError):
    """An event, or one line of the stream, is longer than the parser was told to accept."""


class EventParser:
    """Finds the events of one response body in reads of any size.

    A line ends at CR, LF or CRLF and nowhere else: U+2028 and U+0085 are ordinary text inside JSON.
    `max_event_bytes` bounds the lines that make up one event, their ends not counted.
    """

    __slots__ = ("_after_cr", "_at_start", "_data", "_limit", "_line", "_line_size", "_size")

    def __init__(self, max_event_bytes: int = 8 * 2**20) -> None:
        self._limit = max_event_bytes
        self._at_start = True
        self._after_cr = False
        self._line: list[bytes] = []  # the unfinished line, as it was read
        self._line_size = 0
        self._data: list[bytes] = []  # the data lines of the unfinished event
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take one read; return the payload of each event that it completes.

        Raises StreamTooLarge when an unfinished event outgrows the bound; the parser is then of no
        further use.
        """
        if (payloads := self._whole_events(data)) is not None:
            self._at_start = self._after_cr = False
            return payloads
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        lines = self._complete_lines(data[:end]) if end else []
        if end < len(data):
            self._line.append(data[end:])
            self._line_size += len(data) - end
        elif data:
            self._after_cr = data.endswith(b"\r")
        return self._read(lines)

    def close(self) -> list[bytes]:
        """Return the event that the stream ended in, where its closing blank line is missing."""
        line = b"".join(self._line)
        self._line, self._line_size = [], 0
        if self._at_start:
            line = line.removeprefix(_BOM)
        return self._read([line, b""])

    def _whole_events(self, data: bytes) -> list[bytes] | None:
        """Return the payloads of a read that is `data: …`, a blank line, and so on.

        Nearly every read is, and nothing else; None where it is not.
        """
        if self._line or self._data or data.find(b"\r") >= 0 or not 8 < len(data) <= self._limit:
            return None
        if not (data.startswith(b"data: ") and data.endswith(b"\n\n")):
            return None
        events = data[6:-2].split(b"\n\ndata: ")
        lines = data.count(b"\n")
        return events if lines == 2 * len(events) and b"" not in events else None

    def _complete_lines(self, data: bytes) -> list[bytes]:
        """Split text that ends where a line ends, behind the start of its first line."""
        if self._line:
            data = b"".join((*self._line, data))
            self._line, self._line_size = [], 0
        if self._at_start:
            self._at_start = False
            data = data.removeprefix(_BOM)
        if data.find(b"\r") >= 0:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        lines.pop()
        return lines

    def _read(self, lines: list[bytes]) -> list[bytes]:
        payloads = []
        for line in lines:
            if not line:
                if payload := b"\n".join(self._data):
                    payloads.append(payload)
                self._data, self._size = [], 0
                continue
            self._check(len(line))
            if line.startswith(b"data:"):
                self._size += len(line)
                self._data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
        self._check(self._line_size)
        return payloads

    def _check(self, more: int) -> None:
        if self._size + more > self._limit:
            raise StreamTooLarge(f"an event of the stream is longer than {self._limit} bytes")
