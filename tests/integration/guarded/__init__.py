"""Tests on one stack behind passwords, in the order of the folder: at first nothing is deployed,
and the last tests give the stack other secrets.
"""
