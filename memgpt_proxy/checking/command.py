"""The command ``memgpt-proxy check``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from memgpt_proxy.options import CONTEXT, read_settings, setting_options


@click.command("check", context_settings=CONTEXT)
@setting_options()
def check_command(file: Path | None, **options: Any) -> None:
    """Tell whether all that the gateway needs can be reached, which versions, what is missing."""
    read_settings(file, options)
