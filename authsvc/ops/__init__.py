"""Looking after a store: the embedded server, its fitness, its inspection."""
