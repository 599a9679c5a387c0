"""The account pages: logging in, one's devices, password, second factors, keys and recent activity."""
