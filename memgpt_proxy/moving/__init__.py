"""Moving memories from one store to another: ``memgpt-proxy migrate``.

``places`` names stores and opens them, ``move`` copies and compares, ``state`` remembers how far it
has come, ``progress`` shows it, ``report`` tells the end, ``indices`` moves Elasticsearch's own;
``operation`` does what ``command`` was asked for. ``memories`` erases, exports and imports what one
owner has, whom ``whose`` tells.
"""
