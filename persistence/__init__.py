"""The stores: PostgreSQL and Redis, without a business word."""
