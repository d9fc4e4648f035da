#!/bin/bash
# alone: shares of real time are judged
# A hostile tenant of `ostrom gpu`: every forged command of tests/gpu/hostile.c and random streams (GPU_STREAMS of them,
# 100000 by default), while another tenant draws and checks its pixels. The broker lives, the other's pixels are right, the
# attacker's memory never exceeds its limit and is zero in the end.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
make -s user gpuclients || exit 1
[ -e /usr/lib/x86_64-linux-gnu/libvirglrenderer.so.1 ] || { echo "skip: no virglrenderer"; exit 77; }
unshare -m true 2> /dev/null || unshare -Urm true 2> /dev/null || { echo "skip: no mount namespaces"; exit 77; }
dir=$(mktemp -d) streams=${GPU_STREAMS:-100000}
limit=$((600 + streams / 300)) # seconds
ostrom() { timeout 600 build/user/ostrom gpu "$1" --dir "$dir" "${@:2}"; }
field() { ostrom list --json | sed -n 's/.*"name":"'"$1"'".*"'"$2"'":\([0-9]*\).*/\1/p'; }
timeout $((limit + 300)) build/user/ostrom gpu serve --dir "$dir" --hang-ms 5000 2> "$dir/server.log" &
server=$!
trap 'kill $server 2> /dev/null; wait $server 2> /dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 100); do [ -S "$dir/control" ] && break; sleep 0.05; done
ostrom create evil memory=64M > /dev/null

# The good tenant draws until it is told to stop, again and again checking all its pixels.
(while [ ! -e "$dir/stop" ]; do ostrom run --name good -- build/gpu/gles --seconds 3 --load 50 || echo "not ok run"; done) > "$dir/good.log" 2>&1 &
good=$!
timeout 200 build/gpu/hostile "$dir/tenants/evil" forged; check "forged commands" "[ $? = 0 ]"
timeout 60 build/gpu/hostile "$dir/tenants/evil" flood; check "a flood of requests" "[ $? = 0 ]"
timeout $limit build/gpu/hostile "$dir/tenants/evil" random "$streams" "${GPU_SEED:-1}"; check "random streams" "[ $? = 0 ]"
touch "$dir/stop"; wait $good
check "the other tenant's pixels are right all the time" "! grep -q '^not ok' $dir/good.log && [ \$(grep -c '^ok triangle after load' $dir/good.log) -ge 2 ]"
check "the attacker never had more than its limit" "[ $(field evil memory_peak_bytes) -le $((64 << 20)) ]"
for _ in $(seq 50); do [ "$(field evil clients)" = 0 ] && [ "$(field evil memory_bytes)" = 0 ] && break; sleep 0.2; done
check "and in the end nothing" "[ $(field evil memory_bytes) = 0 ] && [ $(field evil resources) = 0 ] && [ $(field evil contexts) = 0 ]"
check "the broker lives" "kill -0 $server"
exit $failed
