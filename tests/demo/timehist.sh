# Row: ostrom timehist says what Debian's perf says, byte for byte, on a recording made now; both are timed on it.
set -e
dir=build/demo/timehist
mkdir -p $dir
build/user/ostrom sched record -o $dir/data -- perf bench sched messaging -g 4 -l 400 > $dir/record.log 2>&1
ms() { local t0=$(date +%s%N); "$@" > "$out" 2> /dev/null; echo $((($(date +%s%N) - t0) / 1000000)); }
out=$dir/perf.txt theirs=$(ms perf sched timehist -i $dir/data)
out=$dir/ostrom.txt ours=$(ms build/user/ostrom timehist -i $dir/data)
cmp $dir/perf.txt $dir/ostrom.txt
for options in "-S" "--state --next" "-MVw" "-I"; do
	# shellcheck disable=SC2086 # the words are options
	cmp <(perf sched timehist -i $dir/data $options 2> /dev/null) <(build/user/ostrom timehist -i $dir/data $options 2> /dev/null)
done
rows=$(wc -l < $dir/ostrom.txt)
[ "$rows" -gt 1000 ]
echo "measured: $rows rows equal to perf's byte for byte (5 option sets); perf $theirs ms, ostrom $ours ms"
tools/timeline build/demo/timehist.svg < $dir/ostrom.txt
echo "picture: timehist.svg Who ran on which CPU: a part of the recording (perf bench sched messaging)"
echo "bars: time of the tool on this recording, ms|perf=$theirs|ostrom=$ours"
