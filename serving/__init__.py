"""The model service: it answers with the champion, follows the crown, and keeps a log of what it said."""

VERSION = "0.1.0"
