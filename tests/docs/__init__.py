"""The documentation: it builds, its links hold, and every command and snippet in it is run."""
