#!/bin/bash
# alone: shares of real time are judged
# Programs of Debian that nobody wrote for this: glmark2 (with its own validation of pixels), es2gears, and three GStreamer pipelines
# at once (upload, convert, scale and download by GL, encoded by x264: transcoding), each in its own tenant. The three
# films must be the same, and play; and a WebGL page in Chromium, which checks its pixels. Skips what is not installed: glmark2-es2-x11,
# mesa-utils, gstreamer1.0-{gl,tools,plugins-*}, chromium, xvfb.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
make -s user || exit 1
command -v Xvfb > /dev/null && { command -v glmark2-es2 || command -v gst-launch-1.0; } > /dev/null || { echo "skip: neither glmark2 nor GStreamer with Xvfb"; exit 77; }
unshare -m true 2> /dev/null || unshare -Urm true 2> /dev/null || { echo "skip: no mount namespaces"; exit 77; }
dir=$(mktemp -d)
ostrom() { timeout 120 build/user/ostrom gpu "$1" --dir "$dir" "${@:2}"; }
timeout 400 build/user/ostrom gpu serve --dir "$dir" 2> "$dir/server.log" &
server=$!
Xvfb -displayfd 3 -screen 0 640x480x24 -nolisten tcp 3> "$dir/display" 2> /dev/null &
x=$!
trap 'kill $server $x 2> /dev/null; wait $server 2> /dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 200); do [ -S "$dir/control" ] && [ -s "$dir/display" ] && break; sleep 0.05; done
export DISPLAY=:$(cat "$dir/display")

if command -v glmark2-es2 > /dev/null; then
	ostrom run --name mark -- timeout 100 glmark2-es2 --validate -b build -b texture -b shading:shading=phong > "$dir/mark" 2>&1
	check "glmark2 runs on the virtual GPU" "grep -q 'GL_RENDERER: *virgl' $dir/mark"
	check "and its pixels are valid" "[ \$(grep -c 'Validation: Success' $dir/mark) = 3 ] && ! grep -q 'Validation: Failure' $dir/mark"
fi
if command -v es2gears_x11 > /dev/null; then
	ostrom run --name gears -- stdbuf -oL timeout 15 es2gears_x11 > "$dir/gears" 2>&1
	check "es2gears turns" "grep -q 'frames in' $dir/gears"
fi
if gst-inspect-1.0 --exists glupload 2> /dev/null && gst-inspect-1.0 --exists x264enc 2> /dev/null; then
	export GST_GL_PLATFORM=egl GST_GL_WINDOW=x11 GST_GL_API=gles2 XDG_CACHE_HOME=$dir
	pids=()
	for i in 1 2 3; do
		ostrom run --name "film$i" -- timeout 100 gst-launch-1.0 -q videotestsrc num-buffers=60 ! video/x-raw,width=320,height=240,framerate=30/1 ! \
			glupload ! glcolorconvert ! glcolorscale ! "video/x-raw(memory:GLMemory),width=160,height=120" ! glcolorconvert ! gldownload ! \
			video/x-raw,format=RGBA ! videoconvert ! x264enc threads=1 ! video/x-h264,stream-format=byte-stream ! filesink location="$dir/$i.h264" > "$dir/film$i" 2>&1 & pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p"; check "a pipeline ends well" "[ $? = 0 ]"; done
	check "three films of 60 pictures, all the same" "[ -s $dir/1.h264 ] && cmp $dir/1.h264 $dir/2.h264 && cmp $dir/1.h264 $dir/3.h264"
fi
if command -v chromium > /dev/null; then
	ostrom run --name web --memory 1G -- timeout 100 chromium --headless=new --no-sandbox --disable-gpu-sandbox --ozone-platform=x11 --use-gl=angle --use-angle=gl-egl \
		--ignore-gpu-blocklist --user-data-dir="$dir/chromium" --virtual-time-budget=20000 --timeout=60000 --dump-dom "file://$PWD/tests/gpu/webgl.html" > "$dir/web" 2> /dev/null
	check "a browser's WebGL page draws on it, with right pixels" "grep -q '<p id=\"r\">renderer .*virgl.*; bad 0<' $dir/web"
fi
check "no worker was ended" "! grep -q reset $dir/server.log"
exit $failed
