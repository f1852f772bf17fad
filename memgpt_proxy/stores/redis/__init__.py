"""What replicas share in Redis."""
