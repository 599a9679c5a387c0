"""The connection to Redis or Valkey, in every topology. Only this package imports redis."""
