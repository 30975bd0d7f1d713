"""Validates, stores, runs and schedules workflows."""
