"""The fault campaign: real jobs through the real system while faults strike it, and then the books are checked."""
