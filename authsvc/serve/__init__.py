"""Running the service: starting it, and the application in each of its worker processes."""
