"""The Grafana dashboard: what it shows, its file, and a picture of it filled by a load."""
