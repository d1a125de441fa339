"""How the process of a flow run begins: forked from a parent that has imported everything, or as a
fresh interpreter.
"""
