"""What agents remember: keys, histories, search."""
