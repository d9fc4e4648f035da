# SPDX-License-Identifier: MIT
# Sourced by tests/vm/net*.sh, in the repository's top folder: this machine's programs for the guest, and checks of what it says.
# programs NAME...: options of tools/qemu-run that put each into /net, where the busybox shell's own applets do not hide them, with
# the libraries that it needs.
programs() {
	local name path library
	for name in "$@"; do
		path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$name") || { echo "skip: no $name" >&2; return 77; }
		echo "--add $(realpath "$path"):/net/$name"
		ldd "$path" 2> /dev/null | grep -oE '/[^ ]+ \(0x' | sed 's/ (0x//' | while read -r library; do
			echo "--add $(realpath "$library"):$library"
		done
	done | sort -u
}

failures=0
is() { # NAME WANTED GOT
	if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: wanted '$2', got '$3'"; failures=$((failures + 1)); fi
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# The guest's script begins with this: check NAME PATTERN COMMAND says whether the command's output fits the shell pattern.
guest_checks=$(
	cat <<'GUEST'
failures=0
check() {
	said=$(eval "$3" 2>&1)
	case $said in
	$2) echo "ok $1" ;;
	*) echo "not ok $1: $said"; failures=$((failures + 1)) ;;
	esac
}
until_true() { for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do eval "$1" && return 0; sleep 0.3; done; return 1; }
GUEST
)
