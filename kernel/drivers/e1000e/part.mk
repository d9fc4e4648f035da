# Layer 8: Intel's 82574 network cards.
uses := lib abi arch core alloc task device net
