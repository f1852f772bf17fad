"""Fixtures of the memory page's tests: a browser, and somebody who opens the page in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import missing_part
from tests.e2e.chatting import Person
from tests.page.visiting import Visitor
from tests.support.browser import BROWSER
from tests.support.chromium import Browser
from tests.support.gateway import GatewayProcess

Visit = Callable[..., Visitor]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The browser of the whole run; each visitor has a tab of their own."""
    if BROWSER is None:
        missing_part("no Chromium on the PATH: install it from the system's packages")
    with Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open the page of a gateway; what its console complains of fails the test."""
    visitors: list[Visitor] = []

    def open_page(gateway: GatewayProcess, key: str | None = None, user: str = "") -> Visitor:
        visitor = Visitor(browser, gateway)
        visitors.append(visitor)
        if key is not None:
            visitor.enter(key, user)
        return visitor

    yield open_page
    complaints = [each for visitor in visitors for each in visitor.tab.complaints]
    for visitor in visitors:
        visitor.tab.close()
    assert complaints == []


@pytest.fixture
def person(gateway: GatewayProcess, api_key: str) -> Person:
    """Somebody new at the shared gateway."""
    return Person(gateway.base_url, api_key, "model-of-the-page")
