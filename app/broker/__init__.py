"""RabbitMQ: the topology and the one publisher."""
