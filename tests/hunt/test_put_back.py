"""A regenerated reply that never comes: what was undone for it is done again, whatever it was prepared for."""

from __future__ import annotations
import json, uuid
from contextlib import ExitStack
import openai, pytest, yaml
from memgpt_proxy.app import create_app
from memgpt_proxy.backends_file import read_backends
from memgpt_proxy.config import Settings
from tests.e2e.chatting import *
from tests.e2e.in_process import served
from tests.support.backend import ScriptedBackend
from tests.support.replies import *


@pytest.fixture
def second():
    with ScriptedBackend() as s:
        yield s


def context_of(body):
    p = body["messages"][0]["content"]
    return p[p.index("# Working context") : p.index("# External")]


@pytest.mark.parametrize("how", ["none", "fallback", "overflow"])
def test_put_back(tmp_path, backend, second, how):
    described = tmp_path / "backends.yaml"
    described.write_text(
        yaml.safe_dump(
            {
                "backends": [
                    {"name": "a", "url": backend.base_url, "models": ["one"], "retries": 0},
                    {"name": "b", "url": second.base_url, "models": ["two"], "retries": 0},
                ],
                **({"fallbacks": {"one": ["two"]}} if how == "fallback" else {}),
            }
        )
    )
    settings = Settings(data_dir=tmp_path / "data", backends_file=described)
    with served(create_app(settings, "", several=read_backends(settings))) as origin:
        url = origin + "/v1"
        backend.reply(
            call("working_context_append", {"content": "Likes tea"}) + send("Noted.").but()
        )
        first = whole(url, "k", model="one", messages=[user("I like tea")])
        # regenerate; all fail
        over = {
            "error": {
                "message": "This model's maximum context length is 5000 tokens. However, your messages resulted in 6000 tokens.",
                "code": "context_length_exceeded",
                "type": "invalid_request_error",
            }
        }
        if how == "overflow":
            backend.reply(error(400, over), error(401))
        elif how == "fallback":
            backend.reply(error(503))
            second.reply(error(503))
        else:
            backend.reply(error(401))
        with pytest.raises(openai.APIError) as info:
            whole(url, "k", model="one", messages=[user("I like tea")])
        print(info.value)
        backend.script(lambda b: send("ok"))
        import httpx

        got = httpx.get(
            f"{origin}/memgpt/working-context", headers={"authorization": "Bearer k"}
        ).json()
        print("Working", got)
        assert got["content"] == "Likes tea"
