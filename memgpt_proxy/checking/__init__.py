"""Telling whether all that the gateway needs is there: ``memgpt-proxy check``.

``findings`` is what a check says; ``local``, ``models``, ``elasticsearch`` and ``redis`` are the
checks of one part each, ``checks`` those that some settings need, ``command`` is the command.
"""
