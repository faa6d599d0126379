"""What runs the system: settings of the servers, and `infra.local`, the system on one machine."""
