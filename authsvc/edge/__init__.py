"""The socket and the process: the HTTP protocol, its limits, the server and its workers."""
