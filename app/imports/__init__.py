"""Imports: from a CSV file in S3 to rows. Shared by the API, which checks, and the workers, which import."""
