#!/bin/bash
# SPDX-License-Identifier: MIT
# CPython's own test suite (Debian's libpython3.11-testsuite) on Ostrom: each test has the verdict that it has on Debian's Linux in the same
# machine (tests/vm/debian/python.linux: how many pass in each module, and every test that does not). A smoke part in ./test; all 14 modules
# with TEST_MODE=all. VERDICTS=FILE keeps the verdicts; with DEBIAN_KERNEL they are Linux's, and `tests/vm/debian-python.sh --table FILE`
# makes the list of them.
table() { awk '$3 == "ok" { ok[$1]++; next } { print } END { for (m in ok) print m, "ok", ok[m] }' "$1" | LC_ALL=C sort; }
if [ "$1" = --table ]; then table "$2"; exit; fi

. "$(dirname "$0")/debian/host.sh"
modules="test_fcntl test_mmap test_posix test_pty test_select"
limit=200
if [ "$TEST_MODE" = all ]; then
	modules+=" test_os test_subprocess test_threading test_signal test_io test_time test_tempfile test_shutil test_socket"
	limit=1900
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
debian_run "$limit" --add tests/vm/debian/python.py:/python.py > "$work/out" << GUEST
python3 /python.py $modules
GUEST
grep '^test_' "$work/out" > "$work/verdicts"
[ -z "$VERDICTS" ] || cp "$work/verdicts" "$VERDICTS"
status=0
for m in $modules; do
	table <(grep "^$m " "$work/verdicts") > "$work/here"
	grep "^$m " tests/vm/debian/python.linux > "$work/linux"
	if diff "$work/linux" "$work/here" > "$work/diff"; then
		echo "ok $m: $(sed -n "s/^$m ok //p" "$work/here") tests pass, as on Linux"
	else
		status=1
		echo "not ok $m: Linux (<) and here (>) differ"
		cat "$work/diff"
		sed -n 's/^# //p' "$work/out" | tail -n 60
	fi
done
exit $status
