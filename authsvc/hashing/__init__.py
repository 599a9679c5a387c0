"""Password hashes: argon2id and the hashes of other systems, computed on bounded threads."""
