"""The backend: any server that speaks chat completions."""
