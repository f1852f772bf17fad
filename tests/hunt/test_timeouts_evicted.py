from __future__ import annotations
import json, uuid, socket, time, threading, asyncio
from contextlib import ExitStack
import httpx, openai, pytest, yaml
from memgpt_proxy.app import create_app
from memgpt_proxy.backends_file import read_backends
from memgpt_proxy.config import Settings
from tests.e2e.chatting import *
from tests.e2e.in_process import served
from tests.e2e.raw_server import raw_server, read_request, respond
from tests.support.backend import ScriptedBackend
from tests.support.replies import *
from tests.support.replies import choices as several


@pytest.fixture
def started(tmp_path, backend):
    with ExitStack() as stack:

        def start(url=None, **settings):
            app = create_app(
                Settings(data_dir=tmp_path / uuid.uuid4().hex, **settings), url or backend.base_url
            )
            return stack.enter_context(served(app)) + "/v1"

        yield start


@pytest.fixture
def second():
    with ScriptedBackend() as s:
        yield s


@pytest.fixture
def start(tmp_path):
    with ExitStack() as stack:

        def started(*entries, **file):
            described = tmp_path / "backends.yaml"
            described.write_text(yaml.safe_dump({"backends": list(entries), **file}))
            settings = Settings(data_dir=tmp_path / "data", backends_file=described)
            app = create_app(settings, "", several=read_backends(settings))
            return stack.enter_context(served(app)) + "/v1"

        yield started


def entry(name, server, *models, **more):
    url = server if isinstance(server, str) else server.base_url
    return {"name": name, "url": url, "models": list(models), **more}


def piece(delta, index=0, finish=None):
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
    }


ERR = {"error": {"message": "overloaded", "code": 503, "type": "server_error"}}


def test_n2_fallback_after_first_words(backend, second, start):
    # one has answered in plain content before: its clean answers are streamed
    url = start(
        entry("a", backend, "one", retries=0), entry("b", second, "two"), fallbacks={"one": ["two"]}
    )
    backend.reply(several(text("A zero."), text("A one.")))
    second.script(lambda body: several(text("B zero."), text("B one.")))

    def ask():
        with openai.OpenAI(base_url=url, api_key="sk-c", max_retries=0) as client:
            out = {}
            try:
                for c in client.chat.completions.create(
                    model="one", messages=[user("hi")], n=2, stream=True
                ):
                    for ch in c.choices:
                        out[ch.index] = out.get(ch.index, "") + (ch.delta.content or "")
            except openai.APIError as e:
                out["error"] = repr(e)
            return out

    print(ask())
    backend.reply(event(piece({"content": "A one is told. "}, 1)) + event(ERR))
    got = ask()
    print(got)
    assert not ("A one" in got[1] and "B one" in got[1]), got


def test_fallback_after_begun_call(backend, second, start):
    url = start(
        entry("a", backend, "one", retries=0),
        entry("b", second, "two", retries=0),
        fallbacks={"one": ["two"]},
    )
    head = {
        "index": 0,
        "id": "c1",
        "type": "function",
        "function": {"name": "send_message", "arguments": ""},
    }
    r = event(piece({"tool_calls": [head]})) + event(
        piece({"tool_calls": [{"index": 0, "function": {"arguments": '{"mess'}}]})
    )
    backend.reply(r.die_after(events=2))
    second.script(lambda body: text("Hello from two."))
    with openai.OpenAI(base_url=url, api_key="sk-c", max_retries=0) as client:
        got = client.chat.completions.create(model="one", messages=[user("hi")])
    assert got.choices[0].message.content == "Hello from two."


def test_backend_that_does_not_read(started):
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    try:
        url = started(
            f"http://127.0.0.1:{listener.getsockname()[1]}/v1",
            idle_timeout_seconds=1,
            connect_timeout_seconds=1,
            first_byte_timeout_seconds=1,
            context_window=100000,
        )
        small = time.monotonic()
        r = httpx.post(
            f"{url}/chat/completions",
            headers={"authorization": "Bearer k"},
            timeout=20,
            json={"model": "m", "messages": [user("hi")]},
        )
        print("small", r.status_code, time.monotonic() - small)
        image = {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64," + "A" * 12_000_000},
        }
        begun = time.monotonic()
        try:
            r = httpx.post(
                f"{url}/chat/completions",
                headers={"authorization": "Bearer k"},
                timeout=20,
                json={"model": "m", "messages": [{"role": "user", "content": [image]}]},
            )
            print("large", r.status_code, time.monotonic() - begun)
        except httpx.TimeoutException as e:
            pytest.fail(f"no answer within {time.monotonic() - begun:.0f} s")
        assert r.status_code == 504
    finally:
        listener.close()


def test_stale_only_shortly(started):
    """A kept connection whose server closes it after a long time of work."""
    seen = []

    def server(reader, writer):
        while first := read_request(reader):
            if "models" in first:
                respond(writer, b'{"data": []}')
                continue
            seen.append(first)
            time.sleep(3)
            return

    with raw_server(server) as base:
        url = started(base)
        r = httpx.post(
            f"{url}/chat/completions",
            headers={"authorization": "Bearer k"},
            timeout=30,
            json={"model": "m", "messages": [user("hi")]},
        )
        print(r.status_code, r.text, seen)
    assert len(seen) == 1


def test_responses_n(started, backend, api_key):
    url = started()
    backend.script(lambda b: several(text("Zero zero."), text("One one.")))
    r = httpx.post(
        f"{url}/responses",
        headers={"authorization": f"Bearer {api_key}"},
        json={"model": "m", "input": "hi", "n": 2},
    )
    print(r.status_code, r.text[:1500])


def test_evicted_result_can_be_had_again(started, backend, api_key):
    url = started(context_window=4000, reply_reserve=500)
    for n in range(30):
        backend.reply(send("ok " + "word " * 30))
        whole(
            url,
            api_key,
            model="m1",
            messages=[user(f"fact number {n}: " + f"the apple tree {n} " * 15)],
        )
    k = len(backend.requests)

    def search(page):
        return call(
            "recall_storage_search",
            {"query": "apple tree", "page": page},
            id=f"call_{page}_{uuid.uuid4().hex[:4]}",
        )

    backend.reply(search(1), search(2), search(3), search(1), send("done"))
    got = whole(url, api_key, model="m1", messages=[user("what are all the apple trees?")])
    for r in backend.requests[k:]:
        tools = [m["content"][:130] for m in r.body["messages"] if m["role"] == "tool"]
        print(tools)
    last = [m["content"] for m in backend.requests[-1].body["messages"] if m["role"] == "tool"]
    assert not (any("evicted" in t for t in last) and "result stands above" in last[-1])
