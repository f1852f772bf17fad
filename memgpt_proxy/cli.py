"""The command ``memgpt-proxy``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from memgpt_proxy import __version__
from memgpt_proxy.checking.command import check_command
from memgpt_proxy.config import LogFormat
from memgpt_proxy.issuing import key_command
from memgpt_proxy.looking import memory_command
from memgpt_proxy.moving.command import (
    erase_command,
    export_command,
    import_command,
    migrate_command,
)
from memgpt_proxy.options import CONTEXT, SettingsCommand, read_settings, setting_options
from memgpt_proxy.reference import settings_reference
from memgpt_proxy.serve import StartError, serve

log = logging.getLogger(__name__)


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="memgpt-proxy", message="%(prog)s %(version)s")
def main() -> None:
    """Give any chat-completions model an unbounded memory.

    The gateway speaks OpenAI's API. Point the client you have at its base URL; it remembers
    what is said, by API key, and forwards everything else to the backend.
    """


@main.command("serve", cls=SettingsCommand, context_settings=CONTEXT)
@setting_options()
def serve_command(file: Path | None, **options: Any) -> None:
    """Start the gateway.

    Without --backend-url it looks for Ollama, LM Studio, llama.cpp and vLLM on this machine
    and, finding none, starts with the demo backend, a small rule-based model.

    Each option is also an environment variable (--context-window is MEMGPT_CONTEXT_WINDOW)
    and a name in the YAML file (context_window). The command line wins over the environment,
    the environment over the file.
    """
    settings = read_settings(file, options)
    try:
        serve(settings)
    except StartError as error:
        if settings.log_format is LogFormat.JSON:  # programs read nothing else
            log.critical("%s", error)
            raise SystemExit(1) from error
        raise click.ClickException(str(error)) from error


@main.command("settings", context_settings=CONTEXT)
def settings_command() -> None:
    """Print the settings reference, as Markdown."""
    click.echo(settings_reference(), nl=False)


main.add_command(check_command)
main.add_command(key_command)
main.add_command(memory_command)
main.add_command(migrate_command)
main.add_command(erase_command)
main.add_command(export_command)
main.add_command(import_command)
