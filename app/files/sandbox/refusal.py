"""What ends a decoding that can't succeed."""


class Refused(Exception):
    """The file is not to be decoded, however often it is tried; the message is for its owner."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code
