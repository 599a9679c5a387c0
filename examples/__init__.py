"""Programs that use the service, each complete in one file. Tests run them."""
