"""The production family of stores: Elasticsearch 8 or 9, shared by any number of processes."""
