"""What a user adds: one small file a use case.

A package of the same name elsewhere on ``PYTHONPATH`` is merged into this one, so a team keeps its
use cases in its own repository: ``ours/usecases/__init__.py`` (these two lines) and
``ours/usecases/churn.py``."""

__path__ = __import__("pkgutil").extend_path(__path__, __name__)
