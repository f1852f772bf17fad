"""The command ``memgpt-proxy check``: its options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from memgpt_proxy.options import CONTEXT, SettingsCommand, read_settings, setting_options


@click.command("check", cls=SettingsCommand, context_settings=CONTEXT)
@setting_options()
def check_command(file: Path | None, **options: Any) -> None:
    """Tell whether all that the gateway needs is there.

    A line for each part: can it be reached, which version is it, what is missing. It takes the
    settings of serve, may run beside a gateway, and changes nothing. Ends with 1 where something
    fails.
    """
    # Here, since the gateway, whose command is beside this one, shall not pay for it.
    from memgpt_proxy.checking.checks import check

    if not check(read_settings(file, options)):
        sys.exit(1)
