"""How often rollouts err, what they find, and how soon a sick challenger is reverted."""
