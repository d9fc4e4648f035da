# Layer 8: seccomp: filters in front of the system calls of a task.
uses := lib abi arch core alloc task mm vfs process bpf bpf_glue
