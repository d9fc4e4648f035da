# Row: one GPU shared by unmodified Mesa clients, each a tenant with its own virtual GPU: shares by weight, a cap, memory, and a
# hostile neighbour, while every pixel of the others is right (`ostrom gpu`). Then by two virtual machines and the host in the kernel, on the same core.
set -e
make -s gpuclients
dir=$(mktemp -d) out=build/demo
ostrom() { timeout 60 build/user/ostrom gpu "$1" --dir "$dir" "${@:2}"; }
field() { ostrom list --json | sed -n 's/.*"name":"'"$1"'".*"'"$2"'":\([0-9]*\).*/\1/p'; }
timeout 110 build/user/ostrom gpu serve --dir "$dir" 2> $out/vgpu.err &
server=$!
trap 'kill $server 2> /dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 100); do [ -S "$dir/control" ] && break; sleep 0.05; done

colors=(e05030 30a050 3070e0) weights=(100 200 400) pids=()
ostrom create evil memory=64M > /dev/null
for i in 0 1 2; do
	ostrom run --name "t$i" --share "${weights[i]}" --memory 64M -- build/gpu/gles --color "${colors[i]}" --size 256 --load 200 --seconds 14 \
		--scene --ppm "$dir/$i.ppm" > "$dir/$i.log" & pids+=($!)
done
for i in 0 1 2; do for _ in $(seq 100); do [ "$(field "t$i" submissions)" -gt 5 ] 2> /dev/null && break; sleep 0.1; done; done
busy() { for i in 0 1 2; do field "t$i" busy_ns; done; }
mapfile -t before < <(busy); sleep 7; mapfile -t after < <(busy)
timeout 60 build/gpu/hostile "$dir/tenants/evil" random 1500 7 > "$dir/evil.log"
for p in "${pids[@]}"; do wait "$p"; done
if grep '^not ok' "$dir"/*.log; then exit 1; fi
read -r a b c < <(awk -v a=$((after[0] - before[0])) -v b=$((after[1] - before[1])) -v c=$((after[2] - before[2])) 'BEGIN { s = a + b + c; print a / s, b / s, c / s }')
tools/ppm-panel $out/vgpu.png "$dir/0.ppm=$a:#${colors[0]}" "$dir/1.ppm=$b:#${colors[1]}" "$dir/2.ppm=$c:#${colors[2]}"
awk -v a="$a" -v b="$b" -v c="$c" 'BEGIN { exit !(a > 0.10 && a < 0.19 && b > 0.24 && b < 0.33 && c > 0.52 && c < 0.62) }'
echo "measured: three tenants of weight 1:2:4 get $(awk -v a="$a" -v b="$b" -v c="$c" 'BEGIN { printf "%.1f, %.1f and %.1f %%", 100*a, 100*b, 100*c }') of the GPU's time, all pixels right beside a hostile fourth ($(sed -n 's/^# \([0-9]*\) streams.* \([0-9]*\) times.*/\1 random streams, \2 times sent away/p' "$dir/evil.log"))"
echo "picture: vgpu.png Three tenants of one GPU: what each drew (unmodified Mesa, GLES 3.1), and its part of the GPU's time at weights 1, 2 and 4"

# The same in Ostrom's kernel: two virtual machines, each with a part of the GPU by one word, and a program of the host.
make -s build/user/init build/user/ostrom-vm build/programs/gpujobs
tests/vm/guest/build frames "$dir/frames"
cat > "$dir/script" <<'S'
start() { # COLOUR PERCENT: its number in $p, its device in $d
	/ostrom vm run --kernel /frames --mem 16M --gpu "$2" --append "$1" > "/log.$1" 2>&1 & p=$!
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 0.1; grep -q '^holding' "/log.$1" 2> /dev/null && break; done
	for d in /sys/bus/mdev/devices/*; do [ "$d" = "$first" ] || break; done
}
finished() { sed -n 's/finished //p' "$1/vendor/statistics"; }
start R 25%; a=$p first=$d
start G 50%; b=$p second=$d
gpujobs frames 3 9 3 > /host & h=$!
sleep 0.5
a1=$(finished $first) b1=$(finished $second); sleep 2; a2=$(finished $first) b2=$(finished $second)
wait $h
echo "FRAMES $((a2 - a1)) $((b2 - b1)) $(cat /host)"
for m in $a $b; do /ostrom vm screenshot $m /p.ppm; echo "PICTURE"; od -An -v -tx1 /p.ppm; echo "END"; done
kill -9 $a $b
S
timeout 60 tools/qemu-run --icount --timeout 55 --append swgpu --add build/programs/gpujobs:/bin/gpujobs --add build/user/ostrom-vm:/ostrom --add "$dir/frames:/frames" \
	--add "$dir/script:/script" -- sh /script > "$dir/vm.out" 2> $out/vgpu-vm.err
read -r a b c < <(sed -n 's/^FRAMES \([0-9]*\) \([0-9]*\) \([0-9]*\)/\1 \2 \3/p' "$dir/vm.out" | awk '{ h = $3 * 2 / 3; s = $1 + $2 + h; print $1 / s, $2 / s, h / s }')
python3 - "$dir/vm.out" "$dir" << 'P'
import re, sys
for n, m in enumerate(re.findall(r"PICTURE\s(.*?)END", open(sys.argv[1]).read(), re.S)):
    open(f"{sys.argv[2]}/vm{n}.ppm", "wb").write(bytes.fromhex(m))
P
tools/ppm-panel $out/vgpu-vm.png "$dir/vm0.ppm=$a:#e05030" "$dir/vm1.ppm=$b:#30a050"
awk -v a="$a" -v b="$b" -v c="$c" 'BEGIN { exit !(a > 0.24 && a < 0.26 && b > 0.48 && b < 0.52 && c > 0.24 && c < 0.26) }'
echo "measured: in the kernel, two virtual machines (ostrom vm run --gpu 25%, --gpu 50%) and a program of the host at once get $(awk -v a="$a" -v b="$b" -v c="$c" 'BEGIN { printf "%.1f, %.1f and %.1f %%", 100*a, 100*b, 100*c }') of one GPU"
echo "picture: vgpu-vm.png Two virtual machines of Ostrom, each with a part of the GPU: what its guest shows, read by the host, and its part of the GPU's time"
