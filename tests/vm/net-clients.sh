#!/bin/bash
# SPDX-License-Identifier: MIT
# Servers of Debian inside, unmodified: nginx, redis and dropbear (ssh); their clients inside and, through forwarded ports, on
# this machine. Each is judged by what its own client says.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/net/host.sh
for p in curl ssh ssh-keygen redis-cli; do command -v $p > /dev/null || { echo "skip: no $p"; exit 77; }; done
list=$(programs nginx curl redis-server redis-cli redis-benchmark dropbear dropbearkey) || exit $?
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
make -s kernel build/user/init || exit 1

head -c 2000000 /dev/urandom > "$tmp/file"
sum=$(sha256sum < "$tmp/file" | cut -d' ' -f1)
echo 'root:x:0:0:root:/root:/bin/sh' > "$tmp/passwd"
echo 'root:x:0:' > "$tmp/group"
echo /bin/sh > "$tmp/shells"
ssh-keygen -q -t ed25519 -N '' -f "$tmp/key"
cat > "$tmp/nginx.conf" <<'CONF'
user root root;
worker_processes 2;
pid /tmp/nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
	access_log off;
	sendfile on;
	client_body_temp_path /tmp/nginx-body;
	proxy_temp_path /tmp/nginx-proxy;
	fastcgi_temp_path /tmp/nginx-fastcgi;
	uwsgi_temp_path /tmp/nginx-uwsgi;
	scgi_temp_path /tmp/nginx-scgi;
	server {
		listen 80;
		listen [::]:80;
		root /www;
	}
}
CONF
{ echo "$guest_checks"; cat <<'GUEST'; } > "$tmp/guest"
sum=$1
mkdir -p /root/.ssh /etc/dropbear /var/log/nginx /var/lib/nginx
cp /key.pub /root/.ssh/authorized_keys
chmod 700 /root /root/.ssh; chmod 600 /root/.ssh/authorized_keys
/net/nginx -c /nginx.conf
check "nginx to curl" "$sum*" 'until_true "/net/curl -m 30 -s -o /tmp/f http://127.0.0.1/file"; sha256sum /tmp/f'
check "nginx to curl by IPv6" "$sum*" '/net/curl -m 30 -s -g http://[::1]/file | sha256sum'
check "a part of it" "*206*" '/net/curl -m 30 -s -o /dev/null -w "%{http_code}" -r 1000-1999 http://127.0.0.1/file'
check "nothing there" "*404*" '/net/curl -m 30 -s -o /dev/null -w "%{http_code}" http://127.0.0.1/none'
/net/redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --save "" --daemonize yes > /tmp/redis 2>&1
check "redis answers" 'PONG' 'until_true "/net/redis-cli ping | grep -q PONG"; /net/redis-cli ping'
check "redis-benchmark" '*SET: * requests per second*GET: * requests per second*LRANGE_100*' '/net/redis-benchmark -q -n 500 -c 20 -t set,get,lrange'
check "redis-benchmark, many at once" '*PING_INLINE: * requests per second*' '/net/redis-benchmark -q -n 1000 -c 50 -P 16 -t ping'
/net/dropbearkey -t ed25519 -f /etc/dropbear/key > /dev/null 2>&1
/net/dropbear -r /etc/dropbear/key -p 22 2> /tmp/dropbear
until_true '[ -f /tmp/over ]' || until_true '[ -f /tmp/over ]' || until_true '[ -f /tmp/over ]'
[ -f /tmp/over ] || { echo "not ok this machine said when it was over"; cat /tmp/dropbear; failures=$((failures + 1)); }
exit $failures
GUEST

web=$(free_port) ssh=$(free_port) redis=$(free_port)

# shellcheck disable=SC2086
tools/qemu-run --timeout 200 --forward "$web:80" --forward "$ssh:22" --forward "$redis:6379" $list \
	--add "$tmp/guest:/guest" --add "$tmp/file:/www/file" --add "$tmp/nginx.conf:/nginx.conf" --add "$tmp/passwd:/etc/passwd" \
	--add "$tmp/group:/etc/group" --add "$tmp/shells:/etc/shells" --add "$tmp/key.pub:/key.pub" \
	-- sh /guest "$sum" < /dev/null 2> "$tmp/log" &
guest=$!
remote() { ssh -q -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes -o ConnectTimeout=20 -i "$tmp/key" -p "$ssh" root@127.0.0.1 "$@" < /dev/null; }
for _ in $(seq 150); do
	[ "$(remote echo ready 2> /dev/null)" = ready ] && break
	kill -0 $guest 2> /dev/null || break
	sleep 1
done
is "ssh into it" "ostrom" "$(remote hostname)"
is "ssh carries bytes" "$sum" "$(remote cat /www/file | sha256sum | cut -d' ' -f1)"
is "ssh gives the status" 7 "$(remote exit 7; echo $?)"
is "curl from this machine" "$sum" "$(curl -s -m 60 "http://127.0.0.1:$web/file" | sha256sum | cut -d' ' -f1)"
is "redis from this machine" "OK/value" "$(redis-cli -p "$redis" set key value | tr '\n' /; redis-cli -p "$redis" get key)"
remote touch /tmp/over
wait $guest
is "the guest's own cases" 0 $?
[ $failures = 0 ] || tail -20 "$tmp/log"
exit $((failures != 0))
