"""The chat builder and dashboard."""
