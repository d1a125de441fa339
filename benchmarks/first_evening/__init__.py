"""How often ``laurel new`` decides rightly, on twenty tables that its rules were not written on."""
