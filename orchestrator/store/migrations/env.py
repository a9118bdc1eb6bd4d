"""Run by alembic around the scripts in ``versions/``, on the connection that ``alembic_config`` passed in."""

from alembic import context

from orchestrator.store.schema import metadata

# SQLite changes a table by copying it (batch). Its DDL is transactional with our own BEGIN IMMEDIATE around it.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
