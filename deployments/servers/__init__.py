"""Each server as the settings want it, and the environment of all."""
