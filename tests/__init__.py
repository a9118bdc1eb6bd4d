"""The tests; a package, so that its modules can be imported by workers."""
