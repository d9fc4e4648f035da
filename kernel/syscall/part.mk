# Layer 9: one file a syscall family.
uses := lib abi arch core alloc task mm vfs process cgroup tty net bpf_glue perf fs/proc fs/tmpfs seccomp
