# ostrom bpfcheck: the kernel's verifier on object files, for people and CI.
libs := libelf
