"""How many workers, connections and how much memory a load needs, and what would happen if it changed."""
