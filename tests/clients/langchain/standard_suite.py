"""LangChain's standard integration tests, unmodified, of its OpenAI client at the gateway.

Run in the client's own environment; ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY`` say where.
"""

import httpx
import pytest
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

FILE = b"\x89PNG\r\n\x1a\n and so on"


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch):
    """The pictures, documents and sounds that the suite would fetch; their content is no matter."""
    monkeypatch.setattr(httpx, "get", lambda *args, **options: httpx.Response(200, content=FILE))


class Standard(ChatModelIntegrationTests):
    """What ``ChatOpenAI`` can do, as LangChain's own tests of it say."""

    headers: dict[str, str]
    uses_responses = False

    @property
    def chat_model_class(self):
        return ChatOpenAI

    @property
    def chat_model_params(self):
        return {
            "model": f"model-of-{type(self).__name__}",
            "default_headers": self.headers,
            "stream_usage": True,
            "use_responses_api": self.uses_responses,
        }

    @property
    def model_override_value(self):
        return "another-model"

    @property
    def supports_json_mode(self):
        return True

    @property
    def supports_image_inputs(self):
        return True

    @property
    def supports_image_urls(self):
        return True

    @property
    def supports_pdf_inputs(self):
        return True

    @property
    def supports_audio_inputs(self):
        return True

    @property
    def supports_anthropic_inputs(self):
        return True

    @property
    def supports_image_tool_message(self):
        return True

    @property
    def supports_pdf_tool_message(self):
        return True

    @property
    def supported_usage_metadata_details(self):
        return {"invoke": ["cache_read_input"], "stream": ["cache_read_input"]}

    def invoke_with_cache_read_input(self, *, stream=False):
        model = ChatOpenAI(**self.chat_model_params)
        if not stream:
            return model.invoke("Hello")
        whole, *chunks = model.stream("Hello")
        for chunk in chunks:
            whole += chunk
        return whole


class TestWithMemory(Standard):
    headers = {}  # noqa: RUF012


class TestReadingMemory(Standard):
    headers = {"X-MemGPT-Memory": "read"}  # noqa: RUF012


class TestWithoutMemory(Standard):
    headers = {"X-MemGPT-Memory": "off"}  # noqa: RUF012


class TestResponses(Standard):
    headers = {}  # noqa: RUF012
    uses_responses = True
