"""The flows' records, as the service reports them."""
