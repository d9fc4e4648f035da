# Layer 4: threads, scheduler, sleeping locks, timers, work, credentials, tenants.
uses := lib abi arch core alloc
pure := account.c ns.c ns_limit.c thrash.c user_ns.c
