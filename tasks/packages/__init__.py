"""A fitted model becomes a package, and the package is proven."""
