"""Remote agents over A2A."""
