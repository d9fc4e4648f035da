# Which memory did an instruction touch, and who owns the cache line: the sampling model of c2c without a PMU.
uses := lib alloc core perf
pure := *
# not linked into ostrom.elf until the kernel carries an instruction decoder
kernel := no
