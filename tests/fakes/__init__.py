"""Hand-written stand-ins for services that a test cannot run for real, each a real server on a free
port.
"""
