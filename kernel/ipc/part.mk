# Layer 8: System V shared memory, semaphores and messages, POSIX message queues, in IPC namespaces.
uses := lib abi arch core alloc task mm vfs process fs/attrfs
