"""Shared by the HTTP API and the command line: schemas, parsing, the table of routes, the contract."""
