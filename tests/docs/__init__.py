"""The documentation builds, its links hold, and its commands and programs run."""
