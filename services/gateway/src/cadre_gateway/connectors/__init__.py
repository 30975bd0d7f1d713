"""The ways in: one module for each, as `domain/connectors.py` says what it is."""
