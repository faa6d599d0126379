"""What several tests need: real servers, a fresh database, a web server, processes, queues."""
