"""Inputs of every kind, made up, for everything that reads one; see ``__main__``."""
