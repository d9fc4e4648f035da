#!/bin/bash
# SPDX-License-Identifier: MIT
# The demonstration as a newcomer runs it (no terminal, standard input closed), within five minutes after the build, and its page in headless
# Chromium: nine rows that pass, pictures that load. The screenshot build/demo/page.png is there to be looked at. Only in ./test --all.
set -u
cd "$(dirname "$0")/../.."
[ "${TEST_MODE:-}" = all ] || { echo "skip: only in ./test --all"; exit 77; }
command -v chromium > /dev/null || apt-get install -y -qq --no-install-recommends chromium > /dev/null 2>&1 || { echo "skip: no chromium"; exit 77; }
make -s -j"$(nproc)" kernel user gpuclients > /dev/null || exit 1
start=$SECONDS
setsid ./run demo <&- > build/demo.out 2>&1
status=$?
took=$((SECONDS - start))
failed=0
check() { # NAME STATUS
	if [ "$2" = 0 ]; then echo "ok $1"; else echo "not ok $1"; failed=1; fi
}
cat build/demo.out
check "the demo passes" $status
[ $took -le 300 ]; check "in $took s" $?
page="file://$PWD/build/demo/index.html"
browse() { timeout 60 chromium --headless --no-sandbox --disable-gpu --allow-file-access-from-files --user-data-dir="$(mktemp -d)" "$@" "$page" 2> /dev/null; }
browse --screenshot="$PWD/build/demo/page.png" --window-size=1200,6000
browse --dump-dom > build/demo/dom.html
[ "$(grep -c '<td>PASS' build/demo/dom.html)" = 9 ]; check "nine rows on the page" $?
for f in $(sed -n "s/.*<img src=[\"']\([^\"']*\).*/\1/p" build/demo/dom.html) page.png; do
	[ "$(stat -c %s "build/demo/$f" 2> /dev/null || echo 0)" -gt 2000 ]; check "$f" $?
done
exit $failed
