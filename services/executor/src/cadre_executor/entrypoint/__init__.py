"""gRPC to domain and back."""
