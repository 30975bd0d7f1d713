"""Runs code nobody trusts."""
