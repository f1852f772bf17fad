"""What a turn costs with Elasticsearch and Redis, beside the embedded store."""
