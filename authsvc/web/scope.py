"""Keys of ours in the ASGI scope of a request."""

# The row of the table of routes. A path that is no route's has none, so that no path can become a label of a metric.
ROUTE = "authsvc.route"
# A function without arguments that ends an answer which would never end by itself.
END = "authsvc.end"
# Whether the access log gets this request, where that is decided already.
SAMPLED = "authsvc.sampled"
# Seconds that the fast path has waited for the store before it gave the request to the application.
SPENT = "authsvc.spent"
