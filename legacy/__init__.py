"""All that dies after the move from a legacy store."""
