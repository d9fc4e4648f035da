# Layer 8: virtual machines through KVM's interface, on AMD SVM.
uses := lib abi arch core alloc task mm vfs virt/vfio
pure := insn.c lapic.c pic.c ioapic.c
