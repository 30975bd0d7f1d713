"""The outside as the gateway sees it: services, their health, and files of secrets."""
