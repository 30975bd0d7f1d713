"""The door: REST, SSE and webhooks in front of the services."""
