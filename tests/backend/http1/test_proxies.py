"""Which proxy leads where, by what stands in the environment."""

from __future__ import annotations

import httpx
import pytest

from memgpt_proxy.backend.http1 import Proxies, UnusableProxy

PROXY = "http://proxy:3128"
PASSWORD = "p@ss:w/rd"


def led(url: str, own_host: str = "", **environment: str) -> str:
    """Where the proxy is on the way to ``url``; empty without one."""
    proxy = Proxies(environment, own_host).to_url(url)
    return str(proxy or "").removeprefix("the proxy at ")


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({}, "https://a.example/v1", ""),
        ({"HTTPS_PROXY": PROXY}, "https://a.example/v1", PROXY),
        ({"https_proxy": PROXY}, "https://a.example/v1", PROXY),
        ({"HTTPS_PROXY": PROXY}, "http://a.example/v1", ""),
        ({"HTTP_PROXY": PROXY}, "http://a.example/v1", PROXY),
        ({"http_proxy": PROXY}, "https://a.example/v1", ""),
        ({"ALL_PROXY": PROXY}, "http://a.example/v1", PROXY),
        ({"all_proxy": PROXY}, "https://a.example/v1", PROXY),
        ({"ALL_PROXY": "http://all", "HTTPS_PROXY": PROXY}, "https://a.example/v1", PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}, "https://a.example/", PROXY),
        ({"https_proxy": "", "HTTPS_PROXY": "http://other"}, "https://a.example/", ""),
        ({"HTTPS_PROXY": " ", "ALL_PROXY": PROXY}, "https://a.example/", PROXY),
        ({"HTTPS_PROXY": "proxy:3128"}, "https://a.example/", PROXY),
        ({"HTTPS_PROXY": "http://proxy"}, "https://a.example/", "http://proxy:80"),
        ({"HTTPS_PROXY": "https://proxy/"}, "https://a.example/", "https://proxy:443"),
        ({"HTTPS_PROXY": "http://[fd00::1]:8080"}, "https://a.example/", "http://[fd00::1]:8080"),
        ({"HTTPS_PROXY": "http://u:p@proxy:3128"}, "https://a.example/", PROXY),
    ],
)
def test_variables(environment: dict[str, str], url: str, expected: str) -> None:
    assert led(url, **environment) == expected


@pytest.mark.parametrize(
    "host",
    ["localhost", "llm.localhost", "localhost.", "127.0.0.1", "127.8.8.8", "[::1]", "0.0.0.0"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_machine_is_never_reached_through_a_proxy(scheme: str, host: str) -> None:
    assert led(f"{scheme}://{host}:8080/v1", ALL_PROXY=PROXY) == ""


def test_nor_is_the_address_that_is_listened_at() -> None:
    assert led("http://192.0.2.7:8484/demo/v1", "192.0.2.7", ALL_PROXY=PROXY) == ""
    assert led("http://[fd00::7]:8484/demo/v1", "fd00::7", ALL_PROXY=PROXY) == ""
    assert led("http://192.0.2.8:8484/demo/v1", "0.0.0.0", ALL_PROXY=PROXY) == PROXY


@pytest.mark.parametrize(
    ("entries", "host", "without"),
    [
        ("example.org", "example.org", True),
        ("example.org", "api.example.org", True),
        ("example.org", "badexample.org", False),
        ("example.org", "example.org.evil.com", False),
        (".example.org", "example.org", True),
        (".example.org", "api.example.org", True),
        (".example.org", "badexample.org", False),
        ("*.example.org", "api.example.org", True),
        ("Example.ORG", "API.example.org", True),
        ("example.org.", "api.example.org", True),
        ("example.org", "example.org.", True),
        ("*", "anything.example", True),
        ("a.example, *", "anything.example", True),
        ("a.example,b.example", "b.example", True),
        ("a.example  b.example", "b.example", True),
        (" , ,", "b.example", False),
        (".", "b.example", False),
        (":443", "b.example", False),
        ("api.example.org:443", "api.example.org", True),
        ("api.example.org:8443", "api.example.org", False),
        ("api.example.org:8443", "api.example.org:8443", True),
        (".example.org:8443", "api.example.org:8443", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("10.1.2.3:80", "10.1.2.3", False),
        ("10.0.0.0/8", "10.200.1.1", True),
        ("10.1.2.3/8", "10.200.1.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "10.example", False),
        ("10.0.0.0/8", "[fd00::1]", False),
        ("fd00::/8", "[fd12::1]", True),
        ("fd00::1", "[fd00::1]", True),
        ("[fd00::1]", "[fd00:0::1]", True),
        ("[fd00::1]:443", "[fd00::1]", True),
        ("[fd00::1]:8443", "[fd00::1]", False),
        ("fd00::/8", "10.0.0.1", False),
        ("0.0.1", "10.0.0.1", False),
    ],
)
def test_hosts_that_are_reached_without(entries: str, host: str, without: bool) -> None:
    for spelling in ("NO_PROXY", "no_proxy"):
        found = led(f"https://{host}/v1", HTTPS_PROXY=PROXY, **{spelling: entries})
        assert found == ("" if without else PROXY)


@pytest.mark.parametrize(
    "value",
    [
        "http://",
        "http://user:{}@proxy:31x8",
        "http://user:12/{}@proxy:3128",
        "http://user:12#{}@proxy:3128",
        "http://user:12?{}@proxy:3128",
        "http://user:{}@",
        "ftp://user:{}@proxy",
        "http://proxy:3128/{}",
        "user:{}@proxy:\x00",
    ],
)
def test_what_is_no_proxy_is_refused_without_a_word_of_its_password(value: str) -> None:
    proxies = Proxies({"Https_proxy": "", "https_proxy": value.format("secret")})
    with pytest.raises(UnusableProxy) as caught:
        proxies.to_url("https://a.example/v1")
    said = str(caught.value)
    assert said.startswith("https_proxy has to be the URL of an HTTP proxy, such as http://")
    assert "secret" not in said
    assert "12" not in said.replace("3128", "")
    assert "\n" not in said


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "socks"])
def test_socks_is_refused_where_it_would_be_used(scheme: str) -> None:
    environment = {"ALL_PROXY": f"{scheme}://user:secret@proxy:1080", "HTTP_PROXY": PROXY}
    proxies = Proxies(environment)
    with pytest.raises(UnusableProxy, match=r"^ALL_PROXY names a SOCKS proxy") as caught:
        proxies.to_url("https://a.example/v1")
    assert "secret" not in str(caught.value)
    assert proxies.to_url("http://a.example/v1") is not None
    assert proxies.to_url("https://localhost/v1") is None


def test_user_and_password_are_shown_to_nobody() -> None:
    quoted = httpx.URL("http://proxy", username="Ärger", password=PASSWORD)
    proxy = Proxies({"HTTPS_PROXY": str(quoted)}).to_url("https://a.example")
    assert proxy is not None
    assert proxy.authorization == b"Basic w4RyZ2VyOnBAc3M6dy9yZA=="
    shown = f"{proxy} {proxy!r} {proxy.refusal(('https', 'a', 443), 407)}"
    assert "p@ss" not in shown
    assert "w4RyZ" not in shown
