"""Mail: letters with typed parameters, rendered as text and HTML, handed to an SMTP server and logged."""
