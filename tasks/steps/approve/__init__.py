"""The steps of ``approve``: the question to a person, the runs that wait for the answer, and the
effect of the answer."""
