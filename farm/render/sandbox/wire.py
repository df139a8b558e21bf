"""What goes between who asks and the process that decodes, over a socket for each image; limits."""

from __future__ import annotations

import struct

# Kind, are the pixels wanted, or a JPEG with sides of at most so many (0: none), how many bytes
# there are; then the bytes.
QUESTION = struct.Struct("!B?HI")
PICTURE = struct.Struct("!cII")  # GOOD, width, height; then rows of RGB or a JPEG, if wanted
GOOD, BAD = b"+", b"-"  # after BAD: why, as UTF-8
WHY_LIMIT_BYTES = 400
STATUS = struct.Struct("!i")  # how the process ended, as os.waitpid tells
MEMORY_BYTES = 1 << 30  # measured: 33 megapixels take 0.4 GiB, as WebP 0.65
CPU_S = 10
WALL_S = 20.0  # of one decode; CPU time runs out before, on a machine that is not overloaded
FILTER = "filter of system calls"  # how what is missing begins, where it is that
