# Layer 8: a mediated device without hardware, for tests: registers, memory that can be mapped, interrupts, copies and pins
# of the program's memory.
uses := lib abi arch core alloc task mm virt/vfio virt/mdev
