"""Whether a file of trained weights is whole, without loading torch."""

import json
import zlib
from pathlib import Path
from typing import Any

from maskdistill.storage.read_files import DamagedFileError, Fields, reading

METADATA = "maskdistill"  # key of our values in the header of a safetensors file
_MOST = 100_000_000  # bytes of a header, as in the library of safetensors


def check_tensors(path: Path) -> dict[str, Any]:
    """Read a .safetensors file of ours and compare it with the checksum in its header; returns the values beside it.

    Raises:
        FileNotFoundError: If there is none.
        DamagedFileError: If it is cut off, changed, or none of ours.
    """
    with reading(path):
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        if not 8 < length <= min(_MOST, len(content)):
            raise DamagedFileError(path, "its header is cut off")
        header, data = json.loads(content[8 : 8 + length]), memoryview(content)[8 + length :]
        known = json.loads(header.pop("__metadata__", {}).get(METADATA, "null"))
        if not isinstance(known, dict) or "crc32" not in known:
            raise DamagedFileError(path, "it was not written by a training of this project")
        checksum = 0
        for name in sorted(header):
            first, last = header[name]["data_offsets"]
            checksum = zlib.crc32(data[first:last], zlib.crc32(name.encode(), checksum))
    if checksum != known["crc32"]:
        raise DamagedFileError(path, "its checksum does not fit its content")
    return Fields(path, known.get("values", {}))
