"""Migrations in order: one file each, loaded by alembic."""
