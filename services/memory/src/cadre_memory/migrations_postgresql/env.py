"""Runs the migrations on the connection that the kit opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
