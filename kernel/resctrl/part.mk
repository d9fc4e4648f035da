# Layer 8: cache allocation. Groups and files over a back end: CAT's registers or page colours. The kernel's half is mount.c
# (the file system), host.c (tasks, CPUs, registers), place.c (colours of pages)
# and tenant.c (files of control groups).
uses := lib abi core arch alloc task mm vfs process cgroup fs/attrfs
pure := core.c text.c schemata.c files.c paths.c monitor.c cat.c cat_monitor.c colour.c
