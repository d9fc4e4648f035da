# Layer 8: Intel's VT-d, the IOMMU of QEMU's intel-iommu and of Intel's machines.
uses := lib abi arch core alloc task device
