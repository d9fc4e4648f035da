#!/bin/bash
# SPDX-License-Identifier: MIT
# A person at the terminal of `./run --root debian`: line editing, job control, keys that signal, resizing, colours, top, less, vi
# (tests/vm/debian/shell.py types and judges).
cd "$(dirname "$0")/../.." || exit 2
command -v mmdebstrap > /dev/null || { echo "skip: no mmdebstrap"; exit 77; }
make -s kernel build/user/init || exit 1
exec timeout -k 5 230 python3 tests/vm/debian/shell.py tools/qemu-run --root debian ${DEBIAN_KERNEL:+--kernel "$DEBIAN_KERNEL"}
