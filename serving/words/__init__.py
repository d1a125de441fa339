"""What the codes of the records say, in English and Korean: a template for each code."""
