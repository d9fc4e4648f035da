# Layer 5: address spaces, faults, reclaim.
uses := lib abi arch core alloc task
pure := vma_tree.c
