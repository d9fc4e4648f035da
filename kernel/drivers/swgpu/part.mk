# Layer 8: a GPU of software, whose jobs take a stated time on the guest's clock and which can be told to misbehave.
uses := lib abi arch core alloc task gpu virt/vgpu/core
