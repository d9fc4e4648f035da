# perf.data: reader, writer, threads, tracepoint formats and names of addresses (libiberty reads those of C++); shared by record,
# report, script, timehist, c2c and why.
libs := libzstd libelf libdw
ldlibs := -liberty
