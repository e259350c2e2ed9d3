"""The processes in which networks are timed; see main.py."""
