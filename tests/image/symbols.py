"""Fails if a program has a table of symbols. Reads the names of the sections of a 64-bit ELF file."""

import struct
import sys

data = open(sys.argv[1], "rb").read()
(table,) = struct.unpack_from("<Q", data, 0x28)
size, count, names_at = struct.unpack_from("<HHH", data, 0x3A)
section = lambda number: struct.unpack_from("<IIQQQQIIQQ", data, table + number * size)
names = section(names_at)[4]
sections = [data[names + section(number)[0] :].split(b"\0", 1)[0] for number in range(count)]
assert b".text" in sections, sections
sys.exit(b".symtab" in sections)
