"""Each server, set up from the settings, and the environment of all."""
