"""One file, decoded: `Reply` and the bytes of its parts go to standard output."""

import sys

from app.files.protocol import DocumentRequest, PictureRequest, Reply, read_request, write_reply
from app.files.sandbox.confinement import confine
from app.files.sandbox.refusal import Refused


def main() -> None:
    """Exits 0 with a reply, which may be a refusal; anything else is a decoder that broke."""
    request = read_request(sys.argv[1])
    confine(request.limits)
    try:
        reply, parts = _work(request)
    except Refused as refused:
        reply, parts = Reply(code=refused.code, message=str(refused)), []
    except MemoryError:
        message = "Decoding the file takes more memory than it may."
        reply, parts = Reply(code="too_large_to_decode", message=message), []
    write_reply(sys.stdout.buffer, reply, parts)


def _work(request: PictureRequest | DocumentRequest) -> tuple[Reply, list[bytes]]:
    if isinstance(request, PictureRequest):
        from app.files.sandbox.pictures import make_variants

        return make_variants(sys.stdin.buffer, request)
    from app.files.sandbox.documents import extract_text

    return extract_text(sys.stdin.buffer, request)


if __name__ == "__main__":
    main()
