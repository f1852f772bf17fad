"""A request as the bytes that go on the wire (RFC 9112, sections 3 and 6)."""

from __future__ import annotations

import re
from typing import NamedTuple, cast

import httpx

from memgpt_proxy.backend.http1.proxies import Proxy

_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# What a head may look like.
_HEAD = re.compile(
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++ [!-~]++ HTTP/1\.1\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++: [^\r\n\x00]*+\r\n)*+\r\n"
)
_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding"})
_WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})


class Upload(NamedTuple):
    """A body that comes in parts.

    ``length`` is its size in bytes as announced; None sends it chunked.
    """

    stream: httpx.AsyncByteStream
    length: int | None


class Message(NamedTuple):
    """What to send: ``data`` at once, which is everything if there is no ``upload``."""

    data: bytes
    upload: Upload | None


def encode(request: httpx.Request, proxy: Proxy | None = None) -> Message:
    """Return a request's head, with its body where that is in hand.

    Host and the framing of the body are added where the request does not name them.

    Args:
        proxy: What is to take it on to its host; None where it is written to the host itself.

    Raises:
        httpx.LocalProtocolError: It cannot be written as one HTTP/1.1 request.
    """
    lines = [_request_line(request, whole=proxy is not None)]
    if proxy is not None and proxy.authorization:
        lines.append(b"Proxy-Authorization: " + proxy.authorization)
    found: dict[bytes, bytes] = {}
    raw = request.headers.raw
    if b"".join([name for name, _ in raw]).translate(None, _TOKEN):
        raise httpx.LocalProtocolError("A character is not allowed in a header's name.")
    for name, value in raw:
        lines.append(b"%b: %b" % (name, value))
        if (lowered := name.lower()) in _FRAMING:
            if lowered in found:
                raise httpx.LocalProtocolError(f"There are two headers {name!r}.")
            found[lowered] = value
    if b"host" not in found:
        lines.insert(1, b"Host: " + request.url.netloc)
    if isinstance(request.stream, httpx.ByteStream):
        body = _frame_whole(lines, found, request.method, b"".join(request.stream))
        return Message(_head(lines) + body, None)
    upload = _frame_stream(lines, found, cast("httpx.AsyncByteStream", request.stream))
    return Message(_head(lines), upload)


def _request_line(request: httpx.Request, *, whole: bool) -> bytes:
    """Return the first line, with the whole URL where a proxy reads it (section 3.2.2)."""
    try:
        method = request.method.encode("ascii")
    except UnicodeEncodeError as error:
        raise httpx.LocalProtocolError("The method is not ASCII.") from error
    url = request.url
    place = b"%b://%b" % (url.raw_scheme, url.netloc) if whole else b""
    return b"%b %b%b HTTP/1.1" % (method, place, url.raw_path)


def _frame_whole(lines: list[bytes], found: dict[bytes, bytes], method: str, body: bytes) -> bytes:
    chunked, length = _announced(found)
    if chunked:
        return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    if length is None and (body or method not in _WITHOUT_BODY):
        lines.append(b"Content-Length: %d" % len(body))
    elif length is not None and length != len(body):
        raise httpx.LocalProtocolError("The body is not as long as its content-length.")
    return body


def _frame_stream(
    lines: list[bytes], found: dict[bytes, bytes], stream: httpx.AsyncByteStream
) -> Upload:
    chunked, length = _announced(found)
    if length is None and not chunked:
        lines.append(b"Transfer-Encoding: chunked")
    return Upload(stream, length)


def _announced(found: dict[bytes, bytes]) -> tuple[bool, int | None]:
    """Return whether the headers say that the body is chunked, and the length they give it."""
    coding = found.get(b"transfer-encoding")
    length = found.get(b"content-length")
    if coding is not None and (length is not None or coding.lower() != b"chunked"):
        raise httpx.LocalProtocolError("A body is chunked or has a content-length.")
    if length is not None and not length.isdigit():
        raise httpx.LocalProtocolError("The content-length is no number.")
    return coding is not None, None if length is None else int(length)


def _head(lines: list[bytes]) -> bytes:
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    # The grammar would take a value with a line break in it for two headers: hence the count.
    if not _HEAD.fullmatch(head) or head.count(b"\n") != len(lines) + 1:
        raise httpx.LocalProtocolError("A character is not allowed in a request's head.")
    return head
