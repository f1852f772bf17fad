"""What a turn costs at message 10, 100, 1 000 and 10 000 of a conversation."""
