# SPDX-License-Identifier: MIT
# Sourced by tests/vm/debian-*.sh: a guest script (standard input) runs in `./run --root debian` and is judged there.
# usage: debian_run SECONDS [OPTION OF tools/qemu-run...] < SCRIPT; the script has tests/vm/debian/guest.sh's functions.
# DEBIAN_SECONDS is another limit, for slow machines. DEBIAN_KERNEL names another kernel (Debian's own is the oracle: the same scripts must pass there).
cd "$(dirname "$0")/../.." || exit 2
command -v mmdebstrap > /dev/null || { echo "skip: no mmdebstrap"; exit 77; }

debian_run() {
	local limit=${DEBIAN_SECONDS:-$1} dir status
	shift
	dir=$(mktemp -d) || return 1
	{ cat tests/vm/debian/guest.sh -; echo 'exit $failures'; } > "$dir/script"
	make -s kernel build/user/init || return 1
	tools/qemu-run --root debian --timeout "$limit" ${DEBIAN_KERNEL:+--kernel "$DEBIAN_KERNEL"} "$@" --add "$dir/script:/script" \
		-- bash /script < /dev/null 2> "$dir/log" | sed -u 's/\r$//'
	status=${PIPESTATUS[0]}
	grep -v 'Ostrom, console\|clock: TSC\|initrd: \|power off' "$dir/log" | tail -20
	rm -rf "$dir"
	return "$status"
}
