"""What the service is built on."""
