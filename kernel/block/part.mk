# Layer 7: bios, queues, partitions and block device files over pure control cores (polling, throttling, dirty pauses).
uses := lib abi arch core alloc task mm vfs device cgroup
pure := poll.c wbt.c partition.c merge.c ioshare.c
