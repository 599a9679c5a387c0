"""Reading the users of another system from a file: its rows, and what the fields of each system mean."""
