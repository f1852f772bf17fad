"""A real llama.cpp server with the tiny model, as a backend with a wire of its own."""

from __future__ import annotations

from pathlib import Path

from tests.support.process import ServerProcess, clean_environment, free_port


class LlamaServer(ServerProcess):
    """``llama-server`` on a free port; the model is called ``tiny``.

    Args:
        binary: the built server.
        model: a GGUF file.
        directory: an existing folder for the log.
        window: tokens of context, shared by the slots.
        slots: requests answered at once.
        options: further options of llama-server.
    """

    def __init__(
        self,
        binary: Path,
        model: Path,
        directory: Path,
        *options: str,
        window: int = 32768,
        slots: int = 4,
    ) -> None:
        port = free_port()
        command = [str(binary), "--model", str(model), "--alias", "tiny"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--ctx-size", str(window)]
        command += ["--parallel", str(slots), "--threads", "1", "--jinja", "--no-ui", "--offline"]
        super().__init__(
            command=[*command, *options],
            port=port,
            ready_path="/health",
            log=directory / "llama-server.log",
            env=clean_environment(),
        )
