"""What language models do here: embeddings, classification and semantic search, paid for once."""
