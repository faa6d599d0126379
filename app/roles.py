"""What an API key is for."""

from enum import StrEnum


class Role(StrEnum):
    """What a key is for: a tenant's own work, or to run the product. Viewers look, and see nothing of what
    customers sent; operators act; admins also change what stays.
    """

    TENANT = "tenant"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def runs_the_product(self) -> bool:
        """Whether it is no customer's."""
        return self is not Role.TENANT

    def covers(self, least: "Role") -> bool:
        """Whether it may do what `least` may. A tenant's covers nothing but itself."""
        if Role.TENANT in {self, least}:
            return self is least
        order = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
        return order.index(self) >= order.index(least)
