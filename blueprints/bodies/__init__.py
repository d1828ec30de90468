"""What requests and answers look like: one model each, a file per feature."""
