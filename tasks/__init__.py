"""What flows do: rooms of plain functions, each on those below it, and above them ``steps``, the
tasks of Prefect.
"""
