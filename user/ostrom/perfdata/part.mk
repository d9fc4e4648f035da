# perf.data: reader, writer, threads and tracepoint formats; shared by record, report, script, timehist, c2c and why.
libs := libzstd libelf libdw
