"""Telling whether all that the gateway needs is there: ``memgpt-proxy check``.

``findings`` is what a check says, the other modules are the checks of one part each,
``command`` is the command.
"""
