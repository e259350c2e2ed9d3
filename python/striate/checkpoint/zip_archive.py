"""Reads zip archives strictly: what no writer of checkpoints produces is refused.

The central directory must end where the file's last record begins, every member must lie whole
between the one before and the directory, and names must be unique, relative and without `..`.
(APPNOTE.TXT 6.3, sections 4.3.7 to 4.3.16; all numbers are little-endian.)
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from dataclasses import dataclass, replace

from striate._core import FormatError
from striate.checkpoint.tensors import quote

STORED, DEFLATED = 0, 8

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")

_MAX_DIRECTORY = 64 << 20
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "see the 64-bit field"
_ENCRYPTED = 1
_ZIP64_EXTRA = 1


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    method: int
    crc: int
    packed: int  # bytes in the file
    size: int  # bytes of the content
    offset: int  # of the bytes in the file


class ZipArchive:
    """The members of an open file, by name. Raises FormatError on anything malformed."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.file_bytes = os.fstat(fd).st_size
        start, size, count = self._find_directory()
        if size > _MAX_DIRECTORY or count * _CENTRAL.size > size:
            raise FormatError(f"zip: expected a directory of {count} members, got {size} bytes")
        members = _parse_directory(self._read(start, size), count)
        self.members: dict[str, Member] = {}
        end = 0
        for header, member in sorted(members, key=lambda pair: pair[0]):
            if header < end:
                raise FormatError(
                    f"zip: expected members apart, got an overlap at {quote(member.name)}"
                )
            located = self._locate(header, member)
            end = located.offset + located.packed
            if end > start:
                raise FormatError(f"zip: expected {quote(member.name)} before the directory")
            if located.name in self.members:
                raise FormatError(f"zip: expected every name once, got {quote(member.name)} twice")
            self.members[located.name] = located

    def read(self, name: str, limit: int) -> bytes:
        """The content of a member of at most `limit` bytes, its checksum verified."""
        member = self.members[name]
        if member.size > limit:
            raise FormatError(
                f"zip: expected {quote(name)} of at most {limit} bytes, got {member.size}"
            )
        data = self._read(member.offset, member.packed)
        if member.method == DEFLATED:
            data = _inflate(member, data)
        if zlib.crc32(data) != member.crc:
            raise FormatError(
                f"zip: expected {quote(name)} with CRC-32 {member.crc:08x}, "
                f"got {zlib.crc32(data):08x}: the file is corrupt"
            )
        return data

    def _read(self, offset: int, count: int) -> bytes:
        if offset < 0 or offset + count > self.file_bytes:
            raise FormatError(f"zip: expected {count} bytes at {offset}, got the file's end")
        data = os.pread(self._fd, count, offset)
        if len(data) != count:
            raise FormatError(f"zip: expected {count} bytes at {offset}, got {len(data)}")
        return data

    def _find_directory(self) -> tuple[int, int, int]:
        """Offset, bytes and members of the central directory."""
        end = self.file_bytes - _END.size
        signature, *disks, count, size, start, comment = _END.unpack(self._read(end, _END.size))
        if signature != b"PK\5\6" or comment:
            raise FormatError("zip: expected the end of a directory as the last record: truncated")
        disk, directory_disk, here = disks
        wide = self._find_directory64(end)
        if wide is not None:
            end, *numbers = wide
            disk, directory_disk, here, count, size, start = numbers
        if disk or directory_disk or here != count:
            raise FormatError("zip: expected an archive in one part")
        if start + size != end:
            raise FormatError(f"zip: expected a directory that ends at {end}, got {start + size}")
        return start, size, count

    def _find_directory64(self, end: int) -> tuple[int, ...] | None:
        """Offset of the 64-bit end record and its numbers, if the archive has one."""
        if end < _LOCATOR64.size:
            return None
        signature, _, offset, _ = _LOCATOR64.unpack(
            self._read(end - _LOCATOR64.size, _LOCATOR64.size)
        )
        if signature != b"PK\6\7":
            return None
        signature, _, _, _, *numbers = _END64.unpack(self._read(offset, _END64.size))
        if signature != b"PK\6\6" or offset + _END64.size != end - _LOCATOR64.size:
            raise FormatError("zip: expected a 64-bit end of directory before its locator")
        return (offset, *numbers)

    def _locate(self, header: int, member: Member) -> Member:
        """The member with the offset of its bytes, which only its local header tells."""
        name = member.name.encode()
        fields = self._read(header, _LOCAL.size + len(name))
        signature, _, _, method, *_, name_size, extra_size = _LOCAL.unpack_from(fields)
        if signature != b"PK\3\4" or method != member.method or fields[_LOCAL.size :] != name:
            raise FormatError(f"zip: expected {quote(member.name)} at {header}, got something else")
        offset = header + _LOCAL.size + name_size + extra_size
        return replace(member, offset=offset)


def _parse_directory(data: bytes, count: int) -> list[tuple[int, Member]]:
    """The members, each after the offset of its local header."""
    members: list[tuple[int, Member]] = []
    position = 0
    for _ in range(count):
        if position + _CENTRAL.size > len(data):
            raise FormatError(f"zip: expected {count} members, got {len(members)}")
        fields = _CENTRAL.unpack_from(data, position)
        signature, _, _, flags, method, _, _, crc, packed, size = fields[:10]
        name_size, extra_size, comment_size, disk, _, attributes, header = fields[10:]
        position += _CENTRAL.size
        raw_name = data[position : position + name_size]
        extra = data[position + name_size : position + name_size + extra_size]
        position += name_size + extra_size + comment_size
        if signature != b"PK\1\2" or position > len(data):
            raise FormatError(f"zip: expected member {len(members)} of {count} in the directory")
        name = _checked_name(raw_name)
        if flags & _ENCRYPTED or disk:
            raise FormatError(f"zip: refused {quote(name)}: encrypted or in another part")
        if stat.S_ISLNK(attributes >> 16):
            raise FormatError(f"zip: refused {quote(name)}: a symbolic link")
        size, packed, header = _widen((size, packed, header), extra)
        if method not in (STORED, DEFLATED) or (method == STORED and packed != size):
            raise FormatError(f"zip: refused {quote(name)}: expected it stored or deflated")
        members.append((header, Member(name, method, crc, packed, size, offset=0)))
    if position != len(data):
        raise FormatError(f"zip: expected {count} members in the directory, got more bytes")
    return members


def _checked_name(raw: bytes) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise FormatError("zip: expected a member's name in UTF-8") from None
    bad = any(part in ("", ".", "..") for part in name.split("/"))
    if bad or "\\" in name or ":" in name or not name.isprintable():
        raise FormatError(f"zip: refused the name {quote(name)}: expected a plain relative path")
    return name


def _widen(values: tuple[int, int, int], extra: bytes) -> tuple[int, int, int]:
    """Replaces full 32-bit fields by those of the 64-bit extra field, which lists no others."""
    if _FULL32 not in values:
        return values
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, position)
        position += 4
        if kind == _ZIP64_EXTRA and position + size <= len(extra):
            wide = iter(struct.unpack_from(f"<{size // 8}Q", extra, position))
            result = tuple(next(wide, -1) if value == _FULL32 else value for value in values)
            if -1 not in result:
                return (result[0], result[1], result[2])
        position += size
    raise FormatError("zip: expected the 64-bit sizes of a member")


def _inflate(member: Member, data: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(data, member.size + 1)
    except zlib.error as error:
        raise FormatError(f"zip: {quote(member.name)}: {error}") from None
    if len(content) != member.size or not inflater.eof:
        raise FormatError(
            f"zip: expected {member.size} bytes in {quote(member.name)}, got another size"
        )
    return content
