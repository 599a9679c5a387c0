"""Makes sdk/vectors/*.json from the Python SDK: `python -m tools.sdk_vectors`, explained in sdk/vectors/README.md."""
