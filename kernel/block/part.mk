# Layer 7: block devices. The control cores here are pure; the queues and requests stand on them.
uses := lib core alloc
pure := poll.c wbt.c dirty.c partition.c
