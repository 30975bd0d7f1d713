"""The gRPC services: convert, call, convert."""
