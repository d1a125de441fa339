"""How long ``laurel check`` takes, and how far its estimate is off what the same steps take."""
