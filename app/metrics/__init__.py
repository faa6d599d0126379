"""What the product's processes count, and how Prometheus gets to see it."""
