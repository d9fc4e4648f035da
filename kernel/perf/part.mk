# Layer 7: perf events: attributes, rings and filters are pure; contexts, samples and side-band records stand on tasks.
uses := lib abi arch core alloc task mm vfs process cgroup
pure := attr.c ring.c filter.c owner.c pmu_fit.c pmu_x86.c
