"""What memory is: items, where they are, and how they are found. Knows no gRPC, SQL or embedding library."""
