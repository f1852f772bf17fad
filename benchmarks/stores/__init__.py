"""What turns, searches and messages cost in the stores, as they fill."""
