"""What the HTTP API and the command line share: schemas, parsing, the table of routes, the contract."""
