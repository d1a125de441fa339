"""Use cases that need something beside Laurel, such as a database: with this folder on
``PYTHONPATH`` they stand beside the others.
"""

__path__ = __import__("pkgutil").extend_path(__path__, __name__)
