"""What runs inside a container: one file, which needs nothing but the container's own Python."""
