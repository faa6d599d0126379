"""docker-compose.yml run for real, from an empty machine's point of view, with a figure for each step.

Builds the images, starts the stack in a project of its own on free ports of 127.0.0.1, uses it through its
proxy as customers and operators do, scales it, replaces the product's processes under load, stops it, takes it
down and up again, and removes everything. Needs Docker with Compose and Python 3.11; nothing else.
"""
