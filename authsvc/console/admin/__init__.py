"""The console: pages for admins, on a port of their own."""
