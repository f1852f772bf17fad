"""The memory page: ``GET /memgpt/``, a view of a memory for its owner's browser.

Its files are the same for everybody and tell of nobody: they need no key. What the page shows, it
asks of the routes beside it, with the key that somebody has typed into it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from memgpt_proxy.api.owned import PREFIX

FILES = Path(__file__).parents[1] / "page"
"""Where its files are; the package brings them."""

_START = "index.html"
_KINDS = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    # No text can become markup by mistake: nothing on the page may parse any.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
_HEADERS = {
    "cache-control": "no-cache",  # kept, and asked for again: another version has other files
    "content-security-policy": "; ".join(_POLICY),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def page_routes() -> Sequence[BaseRoute]:
    """Return the routes of the page, with its files read. Raises OSError."""
    files = (path for path in sorted(FILES.iterdir()) if path.suffix in _KINDS)
    return [_route(PREFIX, _lead_there), *(_route(_at(path), _File(path).answer) for path in files)]


def _route(path: str, answer: Callable[[Request], Awaitable[Response]]) -> Route:
    """Return a route that is not listed among those of the API."""
    return Route(path, answer, methods=["GET"], include_in_schema=False)


def _at(path: Path) -> str:
    return f"{PREFIX}/" if path.name == _START else f"{PREFIX}/page/{path.name}"


async def _lead_there(request: Request) -> Response:
    """Lead to the page, by a way that is right behind a proxy with a path of its own, too."""
    return RedirectResponse(f"{PREFIX.removeprefix('/')}/", status_code=308)


class _File:
    """One file, as it was when the gateway started."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        self._kind = _KINDS[path.suffix]
        tag = f'"{blake2b(self._content, digest_size=16).hexdigest()}"'
        self._headers = {**_HEADERS, "etag": tag}

    async def answer(self, request: Request) -> Response:
        """Answer with the file, or say that the browser has it already."""
        known = request.headers.get("if-none-match", "").split(",")
        if self._headers["etag"] in (tag.strip().removeprefix("W/") for tag in known):
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, media_type=self._kind, headers=self._headers)
