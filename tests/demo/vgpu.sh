# Row: one GPU shared by unmodified Mesa clients, each a tenant with its own virtual GPU: shares by weight, a cap, memory, and a
# hostile neighbour, while every pixel of the others is right. `ostrom gpu` is the same core that the kernel's virtual GPUs use.
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
