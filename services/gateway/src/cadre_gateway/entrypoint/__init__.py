"""The HTTP API: each handler converts, calls, and converts back."""
