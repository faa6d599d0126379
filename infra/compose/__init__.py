"""What the stack of docker-compose.yml is configured with, and what tries it out: `infra.compose.smoke`."""
