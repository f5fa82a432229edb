"""Command line: options, tables and the error boundary over `recxfer.commands`."""
