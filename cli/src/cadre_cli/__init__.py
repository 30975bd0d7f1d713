"""`cadre`: starts the platform and drives it."""
