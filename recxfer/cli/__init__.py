"""The typer application: options, tables and the error boundary over `recxfer.commands`."""
