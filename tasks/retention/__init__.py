"""What nobody needs any more, and how it goes."""
