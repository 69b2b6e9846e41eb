"""Kinds of sentences in the panel's status line."""

INFO, DONE, ERROR = "info", "done", "error"
