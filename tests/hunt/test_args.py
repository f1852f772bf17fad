from __future__ import annotations
import json, pytest
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from tests.e2e.chatting import *
from tests.e2e.in_process import served
from tests.support.replies import *


@pytest.fixture
def url(tmp_path, backend):
    with served(
        create_app(Settings(data_dir=tmp_path, time_zone="Pacific/Auckland"), backend.base_url)
    ) as origin:
        yield origin + "/v1"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("recall_storage_search_date", {"start_date": "0001-01-01", "end_date": "9999-12-31"}),
        ("recall_storage_search_date", {"start_date": "9999-12-31", "end_date": "0001-01-01"}),
        ("recall_storage_search_date", {"start_date": "2024-02-30", "end_date": "2024-13-01"}),
        ("recall_storage_search_date", {"start_date": "١٢٣٤-٠١-٠١", "end_date": "2024-01-01"}),
        ("recall_storage_search_date", {"start_date": "", "end_date": "today"}),
        ("recall_storage_search", {"query": "", "page": 1}),
        ("recall_storage_search", {"query": "\u0000 \" '", "page": 10**9}),
        ("recall_storage_search", {"query": '"' * 101, "page": "2"}),
        ("recall_storage_search", {"query": "a " * 20000}),
        ("archival_storage_search", {"query": "AND OR NOT NEAR( * ^", "page": -1}),
        ("archival_storage_search", {"query": "x", "page": 1e300}),
        ("archival_storage_insert", {"content": ""}),
        ("archival_storage_insert", {"content": "\u0000\ufffe"}),
        ("archival_storage_insert", {"content": True}),
        ("working_context_append", {"content": "\n"}),
        ("working_context_replace", {"old_content": "", "new_content": "x"}),
        ("working_context_append", {"content": 1e308}),
        ("working_context_append", {"content": {"a": 1}}),
        ("working_context_replace", {"old_content": None, "new_content": None}),
    ],
    ids=str,
)
def test_any_arguments(url, backend, name, arguments):
    backend.reply(call(name, arguments), send("ok"))
    backend.script(lambda b: send("ok"))
    got = whole(url, "k", model="m1", messages=[user("hi")])
    print(
        [m["content"][:100] for m in backend.requests[-1].body["messages"] if m["role"] == "tool"]
    )
    assert got.text == "ok"
