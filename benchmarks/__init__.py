"""Measurements of the gateway. None of them is a test: no timing is ever asserted."""
