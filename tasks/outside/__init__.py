"""What a step needs of the world outside: blocks, what is worth trying again, threads in Slack, and
a use case's own code.
"""
