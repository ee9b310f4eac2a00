"""Answers from masks made elsewhere: one module per ``swathe analyse`` command."""
