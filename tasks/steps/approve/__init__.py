"""The steps of ``approve``: a person is asked, the runs that wait for the answer, and what the
answer is worth.
"""
