"""The memory page's files: served to anybody as what they are, and allowed nothing else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from memgpt_proxy.api.page import FILES
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings

KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
NAMES = sorted(path.name for path in FILES.iterdir() if path.suffix in KINDS)
EVERYWHERE = ["/memgpt/", *(f"/memgpt/page/{name}" for name in NAMES)]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a key."""
    app = create_app(Settings(data_dir=tmp_path), "http://backend/v1")
    transport = httpx.ASGITransport(app)
    async with app.opened(), httpx.AsyncClient(transport=transport, base_url="http://gw") as asking:
        yield asking


async def test_the_page_is_there_for_who_has_no_key(client: httpx.AsyncClient):
    answer = await client.get("/memgpt/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text == (FILES / "index.html").read_text()


@pytest.mark.parametrize("name", NAMES)
async def test_each_file_is_served_as_what_it_is(client: httpx.AsyncClient, name: str):
    answer = await client.get(f"/memgpt/page/{name}")
    assert (answer.status_code, answer.text) == (200, (FILES / name).read_text())
    assert answer.headers["content-type"] == KINDS[Path(name).suffix]


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_a_browser_is_told_to_allow_nothing_else(client: httpx.AsyncClient, path: str):
    told = (await client.get(path)).headers
    policy = dict(each.split(" ", 1) for each in told["content-security-policy"].split("; "))
    assert policy.pop("img-src") == "'self' data:"
    assert {policy.pop(name) for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert policy.keys() == {
        *("default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types")
    }
    assert set(policy.values()) == {"'none'"}
    assert told["x-content-type-options"] == "nosniff"
    assert told["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_what_a_browser_has_is_not_sent_again(client: httpx.AsyncClient, path: str):
    first = await client.get(path)
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    for known in (tag, f'"another", {tag}', f"W/{tag}"):
        again = await client.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert (await client.get(path, headers={"if-none-match": '"another"'})).status_code == 200


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_a_head_tells_the_same(client: httpx.AsyncClient, path: str):
    asked, head = await client.get(path), await client.head(path)
    told = [
        {name: value for name, value in each.headers.items() if name != "x-request-id"}
        for each in (asked, head)
    ]
    assert (head.status_code, told[0]) == (200, told[1])


async def test_without_its_slash_it_leads_there(client: httpx.AsyncClient):
    answer = await client.get("/memgpt")
    assert answer.status_code == 308
    # Behind a proxy that serves the gateway under /memory, it has to lead to /memory/memgpt/.
    place = httpx.URL("https://proxy.example/memory/memgpt").join(answer.headers["location"])
    assert str(place) == "https://proxy.example/memory/memgpt/"


@pytest.mark.parametrize(
    "path", ["/memgpt/page/", "/memgpt/page/index.html", "/memgpt/page/..%2fapp.py"]
)
async def test_nothing_else_is_there(client: httpx.AsyncClient, path: str):
    answer = await client.get(path)
    assert answer.status_code == 404
    assert "/memgpt/page" not in answer.json()["error"]["message"].partition(". ")[2]


async def test_it_takes_nothing(client: httpx.AsyncClient):
    answer = await client.post("/memgpt/", content=b"key=secret")
    assert answer.status_code == 405
    assert {*answer.headers["allow"].split(", ")} == {"GET", "HEAD"}


class Named(HTMLParser):
    """Whatever a page names by an address."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.found += [str(told[name]) for name in ("src", "href", "action") if name in told]
        self.inline += [name for name in told if name == "style" or name.startswith("on")]


def test_it_names_nothing_of_others():
    page = Named((FILES / "index.html").read_text())
    assert page.inline == []
    own = [at for at in page.found if not at.startswith(("#", "data:image/svg+xml,"))]
    assert [at for at in own if at.removeprefix("page/") not in NAMES] == []
    for name in NAMES:
        text = (FILES / name).read_text()
        assert "://" not in text
        imported = re.findall(r'(?:from |import\()"(.+?)"', text)
        assert [at for at in imported if at.removeprefix("./") not in NAMES] == []


def test_its_program_makes_no_markup_of_texts():
    markup = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|setHTML|document\.write|DOMParser")
    for name in NAMES:
        assert not markup.search((FILES / name).read_text()), name


def test_its_files_are_short():
    assert [name for name in NAMES if len((FILES / name).read_text().splitlines()) >= 300] == []
