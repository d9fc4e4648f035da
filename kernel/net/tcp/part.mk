# Layer 7: TCP as a pure core: states, segments, timers and queues over narrow ops. Families and tests give it a network.
uses := lib alloc core net
pure := *
