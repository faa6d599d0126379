"""Which texts travel in one request. Pure."""

from collections.abc import Sequence


def pack(sizes: Sequence[int], *, max_tokens: int, max_inputs: int) -> list[range]:
    """Cut 0, 1, 2 ... into runs, in order, of at most `max_inputs` texts and `max_tokens` tokens each;
    `sizes` are the texts' tokens. Raises ValueError for one that fits into no request.
    """
    runs: list[range] = []
    begin = total = 0
    for at, size in enumerate(sizes):
        if size > max_tokens:
            raise ValueError(f"text {at} has {size} tokens, and a request {max_tokens}")
        if total + size > max_tokens or at - begin == max_inputs:
            runs.append(range(begin, at))
            begin, total = at, 0
        total += size
    if begin < len(sizes):
        runs.append(range(begin, len(sizes)))
    return runs
