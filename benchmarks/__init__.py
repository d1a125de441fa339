"""How fast and how right Laurel is, beside its peers and beside the floor."""
