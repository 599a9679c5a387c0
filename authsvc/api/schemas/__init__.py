"""The bodies of requests and answers, as models: they check what comes in, and openapi.yaml is made from them."""
