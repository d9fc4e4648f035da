/* SPDX-License-Identifier: MIT
 *
 * Attachments to cgroups and the hooks that run them.
 */
#ifndef BPF_GLUE_ATTACH_PRIV_H
#define BPF_GLUE_ATTACH_PRIV_H

#include <core/static_branch.h>
#include <net/hooks.h>

#include "glue_priv.h"

/* ---- attach.c: BPF_PROG_ATTACH and its family; attributes are checked for unused fields ---- */
int bpf_attach(struct bpf_call *c, const union bpf_attr *a);
int bpf_detach(struct bpf_call *c, const union bpf_attr *a);
int bpf_query(const union bpf_attr *a, u64 uattr);
int bpf_link_create(struct bpf_call *c, const union bpf_attr *a); /* a descriptor */
void bpf_attach_init(void);

/* ---- hooks.c ---- */
struct static_key *bpf_hook_key(u32 hook); /* the branch in front of a hook; NULL: nobody calls it */
void bpf_hooks_init(void);
struct tenant;
struct bpf_cgroup_node;
/* The programs of a tenant at a hook: see bpf_cgroup_run. */
int bpf_run_hook(const struct tenant *t, u32 attach_type, const void *ctx, s32 *retval, u32 *flags);
const struct bpf_cgroup_node *bpf_node_of(const struct tenant *t); /* of a removed one: its nearest ancestor's. RCU */

/* ---- hooks_net.c: packets, new sockets, filters ---- */
struct socket;
struct bpf_sock;
struct bpf_sock_view;
struct inet_names;
void bpf_fill_socket(struct bpf_sock_view *v, struct socket *s);
void bpf_fill_names(struct bpf_sock *u, const struct inet_names *names); /* family is set */
void bpf_hooks_net_init(void);

/* ---- hooks_tcp.c: moments of connections ---- */
struct tcp;
int bpf_hook_tcp(struct socket *s, struct tcp *t, u32 op, const u32 args[3]);
void bpf_hooks_tcp_init(void);

/* ---- helpers_net.c ---- */
void bpf_helpers_net_init(void);

/* ---- helpers_lookup.c ---- */
void bpf_helpers_lookup_init(void);
bool bpf_view_is_full(const struct bpf_sock_view *v); /* not of a connection that has no socket yet or any more */

/* ---- hooks_sysctl.c: /proc/sys ---- */
void bpf_hooks_sysctl_init(void);

/* ---- hooks_call.c: see net/hooks.h ---- */
int bpf_hook_address(struct socket *s, enum net_address_hook h, struct sock_addr *a);
int bpf_hook_bound(struct socket *s);
int bpf_hook_set_option(struct socket *s, int *level, int *name, void *value, int *len, int room);
int bpf_hook_get_option(struct socket *s, int level, int name, void *value, int *len, int room, int result);

#endif
