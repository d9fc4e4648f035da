# Layer 8: file-system views of the attribute tree: sysfs, and the trees that other file systems graft (/proc/sys).
uses := lib abi arch core alloc task mm vfs
