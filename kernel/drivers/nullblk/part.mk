# Layer 8: block devices without a disk behind them, whose requests take a stated time on the guest's clock.
uses := lib abi arch core alloc task block
