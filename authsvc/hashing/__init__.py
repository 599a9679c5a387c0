"""Password hashes: argon2id, imported hashes, and the threads that compute both."""
