"""Starts the platform's programs, keeps them up, and stops them without leaving any behind."""
