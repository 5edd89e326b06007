"""A module a command or group of commands, each named `command` there. Heavy imports are inside functions."""
