"""What a table's columns are for: target, time, key, leaks, limits, and the gate to reach."""
