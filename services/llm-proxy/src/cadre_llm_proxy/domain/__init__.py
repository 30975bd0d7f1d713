"""What a model call is, costs and may do; knows no gRPC, SQL or provider library."""
