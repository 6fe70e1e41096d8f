"""Kills processes of a serving engine under load, and looks at what is left of it."""
