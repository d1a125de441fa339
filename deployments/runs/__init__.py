"""A run that is started from elsewhere, waited for, and told."""
