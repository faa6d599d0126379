"""Products; and whoever changes a contact or a product leaves the time at which it was"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Undo asks whether a row is as an import left it, by its updated_at. So every change must show there, also
# one by a program that doesn't think of the column. A statement that sets it, as imports do, is left alone.
_TOUCH = """
CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$
"""
_ON = """
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON {table} FOR EACH ROW
WHEN (NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at) EXECUTE FUNCTION touch_updated_at()
"""


def upgrade() -> None:

    op.create_table(
        "products",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("price", sa.Numeric(precision=14, scale=4), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("stock", sa.Integer(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_products")),
    )
    op.create_index("uq_products_tenant_id_sku", "products", ["tenant_id", "sku"], unique=True)
    op.execute(_TOUCH)
    for table in ("contacts", "products"):
        op.execute(_ON.format(table=table))


def downgrade() -> None:

    for table in ("contacts", "products"):
        op.execute(f"DROP TRIGGER touch_updated_at ON {table}")
    op.execute("DROP FUNCTION touch_updated_at()")
    op.drop_index("uq_products_tenant_id_sku", table_name="products")
    op.drop_table("products")
