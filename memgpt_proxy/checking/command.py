"""The command ``memgpt-proxy check``: its options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from memgpt_proxy.options import CONTEXT, read_settings, setting_options


@click.command("check", context_settings=CONTEXT)
@setting_options()
def check_command(file: Path | None, **options: Any) -> None:
    """Tell whether all that the gateway needs can be reached, which versions, what is missing.

    Takes the settings of serve, and changes nothing. Ends with 1 where something fails.
    """
    # Here, since the gateway, whose command is beside this one, shall not pay for it.
    from memgpt_proxy.checking.checks import check

    if not check(read_settings(file, options)):
        sys.exit(1)
