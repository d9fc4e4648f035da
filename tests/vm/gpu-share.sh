#!/bin/bash
# alone: shares of real time are judged
# `ostrom gpu` with unmodified Mesa clients, natively: right pixels in three tenants at once, weights by finished frames, a
# cap, a memory limit that is exact, changes while frames are drawn, a killed worker and a hung one that hit nobody else.
# Speeds are compared only within one run, with wide margins: benchmarks/gpu measures them.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
make -s user gpuclients || exit 1
[ -e /usr/include/EGL/egl.h ] && [ -e /usr/lib/x86_64-linux-gnu/libvirglrenderer.so.1 ] || { echo "skip: no EGL or virglrenderer"; exit 77; }
unshare -m true 2> /dev/null || unshare -Urm true 2> /dev/null || { echo "skip: no mount namespaces"; exit 77; }
dir=$(mktemp -d)
ostrom() { timeout 100 build/user/ostrom gpu "$1" --dir "$dir" "${@:2}"; }
field() { ostrom list --json | sed -n 's/.*"name":"'"$1"'".*"'"$2"'":\([0-9]*\).*/\1/p'; }
until_ready() { for _ in $(seq 200); do [ "$(field "$1" submissions)" -gt 3 ] 2> /dev/null && return; sleep 0.1; done; }
timeout 300 build/user/ostrom gpu serve --dir "$dir" --hang-ms 2000 2> "$dir/server.log" &
server=$!
trap 'kill $server 2> /dev/null; wait $server 2> /dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 100); do [ -S "$dir/control" ] && break; sleep 0.05; done

# Three tenants at once, one with a quarter of the others' weight; all of them always have work queued, so that the load does not matter.
ostrom run --name a --share 400 -- build/gpu/gles --color ff8000 --seconds 10 --load 200 --async > "$dir/a.log" & pa=$!
ostrom run --name b --share 400 -- build/gpu/gles --color 00c060 --seconds 10 --load 200 --async > "$dir/b.log" & pb=$!
ostrom run --name c --share 100 -- build/gpu/gles --color 3060ff --seconds 10 --load 200 --async > "$dir/c.log" & pc=$!
until_ready a; until_ready b; until_ready c
check "the confined worker has a filter" "grep -q '^Seccomp:.*2' /proc/$(field a worker_pid)/status"
check "and no privileges to gain" "grep -q '^NoNewPrivs:.*1' /proc/$(field a worker_pid)/status"
check "and is nobody" "[ $(id -u) != 0 ] || grep -q '^Uid:.*65534' /proc/$(field a worker_pid)/status"
if grep -q ' cgroup2 rw' /proc/mounts && [ "$(id -u)" = 0 ]; then check "and has a control group of its own" "grep -q '/ostrom-gpu-a$' /proc/$(field a worker_pid)/cgroup"; fi
ostrom list --openmetrics > "$dir/metrics"
check "metrics name each tenant" "[ \$(grep -c '^ostrom_gpu_busy_seconds_total{' $dir/metrics) = 3 ] && tail -1 $dir/metrics | grep -q EOF"
for x in a b c; do p=p$x; wait ${!p}; check "tenant $x draws right pixels" "[ $? = 0 ] && ! grep '^not ok' $dir/$x.log && [ \$(grep -c '^ok' $dir/$x.log) = 3 ]"; done
frames() { sed -n 's/^frames \([0-9]*\).*/\1/p' "$dir/$1.log"; }
check "four times the weight draws more than twice as much" "[ $(frames a) -gt $((2 * $(frames c))) ] && [ $(frames b) -gt $((2 * $(frames c))) ]"
check "it went through the virtual GPU" "grep -q 'virgl' $dir/a.log"

# A cap holds on an idle GPU, and is lifted while frames are drawn.
ostrom run --name capped --max 10% -- build/gpu/gles --seconds 12 --load 200 > "$dir/capped.log" & p=$!
until_ready capped
n0=$(field capped submissions); sleep 2; n1=$(field capped submissions)
check "the cap keeps it waiting" "[ $(field capped capped_ns) -gt 1000000000 ]"
ostrom set capped max=100% > /dev/null
n2=$(field capped submissions); sleep 2; n3=$(field capped submissions)
check "lifted, it draws more than three times as much" "[ $((n3 - n2)) -gt $((3 * (n1 - n0))) ]"
wait $p; check "a capped tenant draws right pixels" "[ $? = 0 ]"

# Guarantees cannot promise more than there is; bad settings change nothing.
ostrom create first min=60% > /dev/null
check "guarantees over 100 % are refused" "! ostrom create second min=50% 2> $dir/err && grep -q guarantees $dir/err"
check "nonsense is refused" "! ostrom set first share=0 2> /dev/null && ! ostrom set first max=0% 2> /dev/null && ! ostrom set nobody min=1% 2> /dev/null && ! ostrom create ../x 2> /dev/null"
ostrom remove first > /dev/null

# Memory: a texture of 1 MiB is charged with the client's memory of the same size behind it, so 40 MiB hold fewer than 20.
ostrom run --name hog --memory 40M -- build/gpu/gles --hog 1000 > "$dir/hog.log" 2>&1 & p=$!
wait $p
check "GL says out of memory at the limit" "grep -Eq '^hog 1[0-9] MiB of 1000' $dir/hog.log && ! grep "^not ok" $dir/hog.log"

# A worker that is killed, and one whose job takes too long: its client ends, its tenant works again, others see nothing.
ostrom create victim > /dev/null
ostrom run --name other -- build/gpu/gles --color a0a000 --seconds 14 --load 50 > "$dir/other.log" & po=$!
export XDG_RUNTIME_DIR=/nonexistent
in_victim() { timeout 60 unshare -m sh -c "mount --make-rprivate / && touch /tmp/.virgl_test && mount --bind $dir/tenants/victim /tmp/.virgl_test && GALLIUM_DRIVER=virpipe LIBGL_ALWAYS_SOFTWARE=1 exec build/gpu/gles $*"; }
if [ "$(id -u)" = 0 ]; then
	in_victim --seconds 20 --load 50 > "$dir/v.log" 2>&1 & p=$!
	until_ready victim
	kill -9 "$(field victim worker_pid)"
	wait $p; check "the client of a killed worker ends" "[ $? != 0 ] && [ $(field victim resets) = 1 ] && [ $(field victim memory_bytes) = 0 ]"
	in_victim --size 2048 --load 60000 --frames 2 > "$dir/v.log" 2>&1
	check "a job that takes too long is ended" "[ $(field victim resets) = 2 ] && [ $(field victim memory_bytes) = 0 ]"
	in_victim > "$dir/v.log" 2>&1
	check "the tenant works again afterwards" "[ $? = 0 ] && grep -q '^ok compute' $dir/v.log"
fi
wait $po; check "the other tenant saw nothing of it" "[ $? = 0 ] && [ \$(grep -c '^ok' $dir/other.log) = 3 ]"
check "transient tenants are gone" "[ \$(ostrom list --json | grep -c '\"name\"') = 1 ]"
exit $failed
