"""Our use cases: a file each. Laurel's own package of this name is merged with it."""

__path__ = __import__("pkgutil").extend_path(__path__, __name__)
