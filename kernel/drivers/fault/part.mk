# Layer 8: a disk over another that fails, delays, tears and loses what it is told to.
uses := lib abi arch core alloc task vfs block
pure := rules.c
