"""Who may come in, and what makes a delivery genuine: decided without HTTP or gRPC."""
