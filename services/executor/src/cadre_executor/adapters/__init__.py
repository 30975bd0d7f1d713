"""The executor's outside: its database, LangGraph, the other services, Prefect."""
