# Layer 8: eBPF in the kernel: descriptors and pins of its objects, executable memory, the hooks that programs are attached to.
uses := lib abi arch core alloc task mm bpf vfs process net net/tcp net/inet cgroup perf
