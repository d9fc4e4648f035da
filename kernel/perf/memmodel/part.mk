# Which memory did an instruction touch, and who owns the cache line: the sampling model of c2c without a PMU.
uses := lib alloc core perf
pure := *
# not linked into ostrom.elf: the kernel samples accesses itself (perf/memory.c) and keeps no history of them
kernel := no
