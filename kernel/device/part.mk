# Layer 5: buses. PCI configuration, MSI-X, and the registration of drivers.
uses := lib abi arch core alloc task
