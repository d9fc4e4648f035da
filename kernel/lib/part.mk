# Layer 0: pure data structures and algorithms. Knows nothing of the machine.
uses := abi
pure := *
