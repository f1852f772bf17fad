"""The results of all benchmarks as a page with plots."""
