"""The prediction log as flows read it."""
