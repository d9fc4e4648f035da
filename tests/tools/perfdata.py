"""perf.data files written record by record, for tests that must not depend on what a busy machine does.

One event that excludes guests, one id (1). record() makes a record, write() the file around them.
Format: tools/perf/Documentation/perf.data-file-format.txt, <linux/perf_event.h>.
"""
import struct

MMAP, SAMPLE = 1, 9
KERNEL, USER = 1, 2
IDENTIFIER, IP, TID, TIME, ADDR, CPU, PERIOD, CALLCHAIN = 1 << 16, 1, 2, 4, 8, 1 << 7, 1 << 8, 1 << 5
MEMORY = IDENTIFIER | IP | TID | TIME | ADDR | CPU | PERIOD | 1 << 14 | 1 << 15  # and WEIGHT, DATA_SRC
PLAIN = IDENTIFIER | IP | TID | TIME | CPU | PERIOD
TRACING_DATA, BUILD_ID, HOSTNAME, OSRELEASE, ARCH, NRCPUS, NUMA_TOPOLOGY = 1, 2, 3, 4, 6, 7, 14  # features


def record(kind, misc, body):
    return struct.pack("<IHH", kind, misc, 8 + len(body)) + body


def text(s):
    return struct.pack("<I", len(s) + 1) + s.encode() + b"\0"


def nodes(nodes):
    """NUMA_TOPOLOGY of [(number, "0-3"), ...]."""
    out = struct.pack("<I", len(nodes))
    for number, cpus in nodes:
        t = cpus.encode() + b"\0"
        t = t.ljust((len(t) + 63) // 64 * 64, b"\0")
        out += struct.pack("<IQQI", number, 1000, 500, len(t)) + t
    return out


def tracing(system, formats):
    """TRACING_DATA of the tracepoints of one system, by the texts of their format files."""
    def sized(t, wide=True):
        return struct.pack("<Q" if wide else "<I", len(t)) + t

    out = b"\x17\x08\x44tracing0.6\0\0\x08" + struct.pack("<I", 4096) + b"header_page\0" + sized(b"") + b"header_event\0" + sized(b"")
    out += struct.pack("<II", 0, 1) + system.encode() + b"\0" + struct.pack("<I", len(formats))
    for f in formats:
        out += sized(f.encode())
    return out + sized(b"", False) + sized(b"", False) + sized(b"")


def write(path, sample_type, records, features=None, kind=4, config=0x1cd):
    """features: number to bytes. kind, config: of the attribute (4: raw, 2: a tracepoint)."""
    features = features or {}
    attr = struct.pack("<IIQQQQQ", kind, 128, config, 1000, sample_type, 0, 1 << 20).ljust(128, b"\0")
    at_ids = 104
    at_attrs = at_ids + 8
    at_data = at_attrs + len(attr) + 16
    at_table = at_data + len(records)
    at = at_table + 16 * len(features)
    table = b""
    for n in sorted(features):
        table += struct.pack("<QQ", at, len(features[n]))
        at += len(features[n])
    bits = sum(1 << n for n in features)
    with open(path, "wb") as f:
        f.write(b"PERFILE2" + struct.pack("<QQ", 104, len(attr) + 16))
        f.write(struct.pack("<QQQQQQ", at_attrs, len(attr) + 16, at_data, len(records), 0, 0))
        f.write(bits.to_bytes(32, "little"))
        f.write(struct.pack("<Q", 1) + attr + struct.pack("<QQ", at_ids, 8) + records + table)
        for n in sorted(features):
            f.write(features[n])
