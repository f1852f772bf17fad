"""Memory: the transcript, the FIFO queue, working context, recall and archival storage."""
