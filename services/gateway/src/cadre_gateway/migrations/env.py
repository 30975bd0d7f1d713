"""Run by Alembic: applies the migrations on the connection that cadre_kit.databases opened."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=True, render_as_batch=True)
context.run_migrations()
