"""The benchmark: what the service does in a second, beside others that answer the same question on the same machine."""
