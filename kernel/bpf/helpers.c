/* SPDX-License-Identifier: MIT
 *
 * Problem: the verifier must know what each helper takes and returns, and each program type has its own set.
 *
 * Idea: two tables: prototypes by number (names and numbers come from the UAPI header), and sets of numbers by
 * program type. Code is filled in by whoever owns the object: maps and clocks in bpf_helper_code.c, packets in
 * helper_packet.c, the rest by other parts through bpf_helper_set.
 *
 * Contract: bpf/helper.h. Which type may call what is Linux 6.1's behaviour.
 *
 * Locks: bpf_helper_set runs at boot only; readers take none.
 */
#include <bpf/helper.h>
#include <lib/err.h>
#include "helper_priv.h"

#define NAME(n) #n
static const char *const names[] = { __BPF_FUNC_MAPPER(NAME) };
#undef NAME

#define H(id, result, ...)         [BPF_FUNC_##id] = { .ret = result, .known = true, .args = { __VA_ARGS__ } }
#define GPL                        .gpl_only = true
#define PKT                        .packet_access = true
#define MOVES                      .changes_packet = true
#define HX(id, result, extra, ...) [BPF_FUNC_##id] = { .ret = result, .known = true, .args = { __VA_ARGS__ }, extra }
#define HXX(id, result, extra, extra2, ...)                                                                            \
	[BPF_FUNC_##id] = { .ret = result, .known = true, .args = { __VA_ARGS__ }, extra, extra2 }
#define NULLABLE | ARG_NULL_OK
#define TUPLE    ARG_CTX, ARG_MEM, ARG_SIZE, ARG_ANY, ARG_ANY
#define OUTPUT   ARG_CTX, ARG_MAP, ARG_ANY, ARG_MEM, ARG_SIZE0
#define READING  ARG_UNINIT_MEM, ARG_SIZE0, ARG_ANY

static struct bpf_helper helpers[__BPF_FUNC_MAX_ID] = {
	HX(map_lookup_elem, RET_MAP_VALUE_NULL, PKT, ARG_MAP, ARG_KEY),
	HX(map_update_elem, RET_INT, PKT, ARG_MAP, ARG_KEY, ARG_VALUE, ARG_ANY),
	HX(map_delete_elem, RET_INT, PKT, ARG_MAP, ARG_KEY),
	HX(map_push_elem, RET_INT, PKT, ARG_MAP, ARG_VALUE, ARG_ANY),
	H(map_pop_elem, RET_INT, ARG_MAP, ARG_UNINIT_VALUE),
	H(map_peek_elem, RET_INT, ARG_MAP, ARG_UNINIT_VALUE),
	H(map_lookup_percpu_elem, RET_MAP_VALUE_NULL, ARG_MAP, ARG_KEY, ARG_ANY),
	H(for_each_map_elem, RET_INT, ARG_MAP, ARG_FUNC, ARG_STACK NULLABLE, ARG_ANY),
	H(loop, RET_INT, ARG_ANY, ARG_FUNC, ARG_STACK NULLABLE, ARG_ANY),
	HX(probe_read, RET_INT, GPL, READING),
	HX(probe_read_str, RET_INT, GPL, READING),
	HX(probe_read_user, RET_INT, GPL, READING),
	HX(probe_read_kernel, RET_INT, GPL, READING),
	HX(probe_read_user_str, RET_INT, GPL, READING),
	HX(probe_read_kernel_str, RET_INT, GPL, READING),
	HX(probe_write_user, RET_INT, GPL, ARG_ANY, ARG_MEM, ARG_SIZE),
	H(copy_from_user, RET_INT, READING),
	HX(ktime_get_ns, RET_INT, .gpl_only = false, ARG_NONE),
	H(ktime_get_boot_ns, RET_INT, ARG_NONE),
	H(ktime_get_coarse_ns, RET_INT, ARG_NONE),
	H(ktime_get_tai_ns, RET_INT, ARG_NONE),
	H(jiffies64, RET_INT, ARG_NONE),
	HX(trace_printk, RET_INT, GPL, ARG_MEM, ARG_SIZE),
	HX(trace_vprintk, RET_INT, GPL, ARG_MEM, ARG_SIZE, ARG_MEM NULLABLE, ARG_SIZE0),
	H(snprintf, RET_INT, ARG_UNINIT_MEM NULLABLE, ARG_SIZE0, ARG_CONST_STR, ARG_MEM NULLABLE, ARG_SIZE0),
	H(get_prandom_u32, RET_INT, ARG_NONE),
	H(get_smp_processor_id, RET_INT, ARG_NONE),
	H(get_numa_node_id, RET_INT, ARG_NONE),
	H(tail_call, RET_VOID, ARG_CTX, ARG_MAP, ARG_ANY),
	H(get_current_pid_tgid, RET_INT, ARG_NONE),
	H(get_current_uid_gid, RET_INT, ARG_NONE),
	H(get_current_comm, RET_INT, ARG_UNINIT_MEM, ARG_SIZE),
	HX(get_current_task, RET_INT, GPL, ARG_NONE),
	H(get_current_cgroup_id, RET_INT, ARG_NONE),
	H(get_current_ancestor_cgroup_id, RET_INT, ARG_ANY),
	H(current_task_under_cgroup, RET_INT, ARG_MAP, ARG_ANY),
	HX(send_signal, RET_INT, .gpl_only = false, ARG_ANY),
	H(send_signal_thread, RET_INT, ARG_ANY),
	H(spin_lock, RET_VOID, ARG_SPIN_LOCK),
	H(spin_unlock, RET_VOID, ARG_SPIN_LOCK),
	H(timer_init, RET_INT, ARG_TIMER, ARG_MAP, ARG_ANY),
	H(timer_start, RET_INT, ARG_TIMER, ARG_ANY, ARG_ANY),
	H(timer_cancel, RET_INT, ARG_TIMER),
	H(strtol, RET_INT, ARG_MEM, ARG_SIZE, ARG_ANY, ARG_LONG),
	H(strtoul, RET_INT, ARG_MEM, ARG_SIZE, ARG_ANY, ARG_LONG),
	H(strncmp, RET_INT, ARG_MEM, ARG_SIZE, ARG_CONST_STR),
	H(ringbuf_output, RET_INT, ARG_MAP, ARG_MEM, ARG_SIZE0, ARG_ANY),
	H(ringbuf_reserve, RET_RINGBUF_MEM_NULL, ARG_MAP, ARG_ALLOC_SIZE, ARG_ANY),
	H(ringbuf_submit, RET_VOID, ARG_RINGBUF_MEM | ARG_RELEASE, ARG_ANY),
	H(ringbuf_discard, RET_VOID, ARG_RINGBUF_MEM | ARG_RELEASE, ARG_ANY),
	H(ringbuf_query, RET_INT, ARG_MAP, ARG_ANY),
	HX(perf_event_output, RET_INT, GPL, OUTPUT),
	HX(perf_event_read, RET_INT, GPL, ARG_MAP, ARG_ANY),
	HX(perf_event_read_value, RET_INT, GPL, ARG_MAP, ARG_ANY, ARG_UNINIT_MEM, ARG_SIZE),
	HX(perf_prog_read_value, RET_INT, GPL, ARG_CTX, ARG_UNINIT_MEM, ARG_SIZE),
	HX(read_branch_records, RET_INT, GPL, ARG_CTX, ARG_MEM NULLABLE, ARG_SIZE0, ARG_ANY),
	HX(get_stackid, RET_INT, GPL, ARG_CTX, ARG_MAP, ARG_ANY),
	HX(get_stack, RET_INT, GPL, ARG_CTX, ARG_UNINIT_MEM, ARG_SIZE0, ARG_ANY),
	HX(override_return, RET_INT, GPL, ARG_CTX, ARG_ANY),
	HX(get_func_ip, RET_INT, GPL, ARG_CTX),
	H(get_attach_cookie, RET_INT, ARG_CTX),
	H(get_ns_current_pid_tgid, RET_INT, ARG_ANY, ARG_ANY, ARG_UNINIT_MEM, ARG_SIZE),
	H(get_local_storage, RET_MAP_VALUE, ARG_MAP, ARG_ANY),
	H(get_retval, RET_INT, ARG_NONE),
	H(set_retval, RET_INT, ARG_ANY),
	H(get_cgroup_classid, RET_INT, ARG_CTX),
	H(get_route_realm, RET_INT, ARG_CTX),
	H(get_hash_recalc, RET_INT, ARG_CTX),
	H(set_hash_invalid, RET_INT, ARG_CTX),
	H(set_hash, RET_INT, ARG_CTX, ARG_ANY),
	H(get_socket_cookie, RET_INT, ARG_CTX),
	H(get_netns_cookie, RET_INT, ARG_CTX NULLABLE),
	H(get_socket_uid, RET_INT, ARG_CTX),
	H(skb_load_bytes, RET_INT, ARG_CTX, ARG_ANY, ARG_UNINIT_MEM, ARG_SIZE),
	H(skb_load_bytes_relative, RET_INT, ARG_CTX, ARG_ANY, ARG_UNINIT_MEM, ARG_SIZE, ARG_ANY),
	HX(skb_store_bytes, RET_INT, MOVES, ARG_CTX, ARG_ANY, ARG_MEM, ARG_SIZE, ARG_ANY),
	HX(skb_pull_data, RET_INT, MOVES, ARG_CTX, ARG_ANY),
	HXX(csum_diff, RET_INT, PKT, .gpl_only = false, ARG_MEM NULLABLE, ARG_SIZE0, ARG_MEM NULLABLE, ARG_SIZE0,
	    ARG_ANY),
	H(csum_update, RET_INT, ARG_CTX, ARG_ANY),
	H(csum_level, RET_INT, ARG_CTX, ARG_ANY),
	HX(l3_csum_replace, RET_INT, MOVES, ARG_CTX, ARG_ANY, ARG_ANY, ARG_ANY, ARG_ANY),
	HX(l4_csum_replace, RET_INT, MOVES, ARG_CTX, ARG_ANY, ARG_ANY, ARG_ANY, ARG_ANY),
	HX(clone_redirect, RET_INT, MOVES, ARG_CTX, ARG_ANY, ARG_ANY),
	H(redirect, RET_INT, ARG_ANY, ARG_ANY),
	H(redirect_neigh, RET_INT, ARG_ANY, ARG_MEM NULLABLE, ARG_SIZE0, ARG_ANY),
	H(redirect_peer, RET_INT, ARG_ANY, ARG_ANY),
	H(redirect_map, RET_INT, ARG_MAP, ARG_ANY, ARG_ANY),
	HX(skb_vlan_push, RET_INT, MOVES, ARG_CTX, ARG_ANY, ARG_ANY),
	HX(skb_vlan_pop, RET_INT, MOVES, ARG_CTX),
	HX(skb_change_proto, RET_INT, MOVES, ARG_CTX, ARG_ANY, ARG_ANY),
	H(skb_change_type, RET_INT, ARG_CTX, ARG_ANY),
	HX(skb_change_tail, RET_INT, MOVES, ARG_CTX, ARG_ANY, ARG_ANY),
	HX(skb_change_head, RET_INT, MOVES, ARG_CTX, ARG_ANY, ARG_ANY),
	HX(skb_adjust_room, RET_INT, MOVES, ARG_CTX, ARG_ANY, ARG_ANY, ARG_ANY),
	H(skb_get_tunnel_key, RET_INT, ARG_CTX, ARG_UNINIT_MEM, ARG_SIZE, ARG_ANY),
	H(skb_set_tunnel_key, RET_INT, ARG_CTX, ARG_MEM, ARG_SIZE, ARG_ANY),
	H(skb_get_tunnel_opt, RET_INT, ARG_CTX, ARG_UNINIT_MEM, ARG_SIZE),
	H(skb_set_tunnel_opt, RET_INT, ARG_CTX, ARG_MEM, ARG_SIZE),
	H(skb_get_xfrm_state, RET_INT, ARG_CTX, ARG_ANY, ARG_UNINIT_MEM, ARG_SIZE, ARG_ANY),
	H(skb_under_cgroup, RET_INT, ARG_CTX, ARG_MAP, ARG_ANY),
	H(skb_cgroup_id, RET_INT, ARG_CTX),
	H(skb_cgroup_classid, RET_INT, ARG_CTX),
	H(skb_ancestor_cgroup_id, RET_INT, ARG_CTX, ARG_ANY),
	H(sk_cgroup_id, RET_INT, ARG_SOCK_COMMON),
	H(sk_ancestor_cgroup_id, RET_INT, ARG_SOCK_COMMON, ARG_ANY),
	H(skb_ecn_set_ce, RET_INT, ARG_CTX),
	H(skb_set_tstamp, RET_INT, ARG_CTX, ARG_ANY, ARG_ANY),
	HX(fib_lookup, RET_INT, GPL, ARG_CTX, ARG_MEM, ARG_SIZE, ARG_ANY),
	HX(check_mtu, RET_INT, GPL, ARG_CTX, ARG_ANY, ARG_INT, ARG_ANY, ARG_ANY),
	HX(xdp_adjust_head, RET_INT, MOVES, ARG_CTX, ARG_ANY),
	HX(xdp_adjust_tail, RET_INT, MOVES, ARG_CTX, ARG_ANY),
	HX(xdp_adjust_meta, RET_INT, MOVES, ARG_CTX, ARG_ANY),
	H(xdp_get_buff_len, RET_INT, ARG_CTX),
	H(xdp_load_bytes, RET_INT, ARG_CTX, ARG_ANY, ARG_UNINIT_MEM, ARG_SIZE),
	H(xdp_store_bytes, RET_INT, ARG_CTX, ARG_ANY, ARG_MEM, ARG_SIZE),
	H(lwt_push_encap, RET_INT, ARG_CTX, ARG_ANY, ARG_MEM, ARG_SIZE),
	HX(sk_lookup_tcp, RET_SOCK_NULL, PKT, TUPLE),
	HX(sk_lookup_udp, RET_SOCK_NULL, PKT, TUPLE),
	HX(skc_lookup_tcp, RET_SOCK_COMMON_NULL, PKT, TUPLE),
	H(sk_release, RET_INT, ARG_SOCK_COMMON | ARG_RELEASE),
	H(sk_fullsock, RET_SOCK_NULL, ARG_SOCK_COMMON),
	H(tcp_sock, RET_TCP_SOCK_NULL, ARG_SOCK_COMMON),
	H(get_listener_sock, RET_SOCK_NULL, ARG_SOCK_COMMON),
	H(sk_assign, RET_INT, ARG_CTX, ARG_SOCK_COMMON NULLABLE, ARG_ANY),
	HX(tcp_check_syncookie, RET_INT, PKT, ARG_SOCK_COMMON, ARG_MEM, ARG_SIZE, ARG_MEM, ARG_SIZE),
	HXX(tcp_gen_syncookie, RET_INT, GPL, PKT, ARG_SOCK_COMMON, ARG_MEM, ARG_SIZE, ARG_MEM, ARG_SIZE),
	H(sk_storage_get, RET_MAP_VALUE_NULL, ARG_MAP, ARG_SOCK_COMMON, ARG_VALUE NULLABLE, ARG_ANY),
	H(sk_storage_delete, RET_INT, ARG_MAP, ARG_SOCK_COMMON),
	HX(sk_select_reuseport, RET_INT, .gpl_only = false, ARG_CTX, ARG_MAP, ARG_KEY, ARG_ANY),
	H(sk_redirect_map, RET_INT, ARG_CTX, ARG_MAP, ARG_ANY, ARG_ANY),
	H(sk_redirect_hash, RET_INT, ARG_CTX, ARG_MAP, ARG_KEY, ARG_ANY),
	H(msg_redirect_map, RET_INT, ARG_CTX, ARG_MAP, ARG_ANY, ARG_ANY),
	H(msg_redirect_hash, RET_INT, ARG_CTX, ARG_MAP, ARG_KEY, ARG_ANY),
	H(msg_apply_bytes, RET_INT, ARG_CTX, ARG_ANY),
	H(msg_cork_bytes, RET_INT, ARG_CTX, ARG_ANY),
	HX(msg_pull_data, RET_INT, MOVES, ARG_CTX, ARG_ANY, ARG_ANY, ARG_ANY),
	HX(msg_push_data, RET_INT, MOVES, ARG_CTX, ARG_ANY, ARG_ANY, ARG_ANY),
	HX(msg_pop_data, RET_INT, MOVES, ARG_CTX, ARG_ANY, ARG_ANY, ARG_ANY),
	HX(sock_map_update, RET_INT, PKT, ARG_CTX, ARG_MAP, ARG_KEY, ARG_ANY),
	HX(sock_hash_update, RET_INT, PKT, ARG_CTX, ARG_MAP, ARG_KEY, ARG_ANY),
	H(sock_ops_cb_flags_set, RET_INT, ARG_CTX, ARG_ANY),
	H(setsockopt, RET_INT, ARG_CTX, ARG_ANY, ARG_ANY, ARG_MEM, ARG_SIZE),
	H(getsockopt, RET_INT, ARG_CTX, ARG_ANY, ARG_ANY, ARG_UNINIT_MEM, ARG_SIZE),
	H(bind, RET_INT, ARG_CTX, ARG_MEM, ARG_SIZE),
	H(load_hdr_opt, RET_INT, ARG_CTX, ARG_MEM, ARG_SIZE, ARG_ANY),
	H(store_hdr_opt, RET_INT, ARG_CTX, ARG_MEM, ARG_SIZE, ARG_ANY),
	H(reserve_hdr_opt, RET_INT, ARG_CTX, ARG_ANY, ARG_ANY),
	H(sysctl_get_name, RET_INT, ARG_CTX, ARG_UNINIT_MEM, ARG_SIZE, ARG_ANY),
	H(sysctl_get_current_value, RET_INT, ARG_CTX, ARG_UNINIT_MEM, ARG_SIZE),
	H(sysctl_get_new_value, RET_INT, ARG_CTX, ARG_UNINIT_MEM, ARG_SIZE),
	H(sysctl_set_new_value, RET_INT, ARG_CTX, ARG_MEM, ARG_SIZE),
};

#define F(n) BPF_FUNC_##n

/* For everybody, for who has CAP_BPF, and for who has CAP_PERFMON too. */
static const u16 base[] = {
	F(map_lookup_elem),
	F(map_update_elem),
	F(map_delete_elem),
	F(map_push_elem),
	F(map_pop_elem),
	F(map_peek_elem),
	F(map_lookup_percpu_elem),
	F(get_prandom_u32),
	F(get_smp_processor_id),
	F(get_numa_node_id),
	F(tail_call),
	F(ktime_get_ns),
	F(ktime_get_boot_ns),
	F(ktime_get_tai_ns),
	F(ringbuf_output),
	F(ringbuf_reserve),
	F(ringbuf_submit),
	F(ringbuf_discard),
	F(ringbuf_query),
	F(strncmp),
	F(strtol),
	F(strtoul),
	0,
};
static const u16 base_bpf[] = {
	F(spin_lock),   F(spin_unlock),  F(jiffies64),         F(timer_init), F(timer_set_callback),
	F(timer_start), F(timer_cancel), F(for_each_map_elem), F(loop),       0,
};
static const u16 base_perfmon[] = {
	F(trace_printk),      F(get_current_task),    F(probe_read_user),
	F(probe_read_kernel), F(probe_read_user_str), F(probe_read_kernel_str),
	F(snprintf),          F(trace_vprintk),       0,
};
static const u16 tracing[] = {
	F(get_current_pid_tgid),
	F(get_current_uid_gid),
	F(get_current_comm),
	F(perf_event_read),
	F(perf_event_read_value),
	F(perf_event_output),
	F(get_stackid),
	F(get_stack),
	F(current_task_under_cgroup),
	F(probe_write_user),
	F(probe_read),
	F(probe_read_str),
	F(get_current_cgroup_id),
	F(get_current_ancestor_cgroup_id),
	F(send_signal),
	F(send_signal_thread),
	F(get_ns_current_pid_tgid),
	0,
};
static const u16 sk_filter[] = { F(skb_load_bytes),
				 F(skb_load_bytes_relative),
				 F(get_socket_cookie),
				 F(get_socket_uid),
				 F(perf_event_output),
				 F(ktime_get_coarse_ns),
				 0 };
static const u16 lookups[] = { F(sk_lookup_tcp), F(sk_lookup_udp), F(sk_release), F(skc_lookup_tcp), 0 };
static const u16 tc[] = {
	F(skb_store_bytes),
	F(skb_load_bytes),
	F(skb_load_bytes_relative),
	F(skb_pull_data),
	F(csum_diff),
	F(csum_update),
	F(csum_level),
	F(l3_csum_replace),
	F(l4_csum_replace),
	F(clone_redirect),
	F(get_cgroup_classid),
	F(skb_vlan_push),
	F(skb_vlan_pop),
	F(skb_change_proto),
	F(skb_change_type),
	F(skb_adjust_room),
	F(skb_change_tail),
	F(skb_change_head),
	F(skb_get_tunnel_key),
	F(skb_set_tunnel_key),
	F(skb_get_tunnel_opt),
	F(skb_set_tunnel_opt),
	F(redirect),
	F(redirect_neigh),
	F(redirect_peer),
	F(get_route_realm),
	F(get_hash_recalc),
	F(set_hash_invalid),
	F(set_hash),
	F(perf_event_output),
	F(skb_under_cgroup),
	F(get_socket_cookie),
	F(get_socket_uid),
	F(fib_lookup),
	F(check_mtu),
	F(sk_fullsock),
	F(sk_storage_get),
	F(sk_storage_delete),
	F(skb_get_xfrm_state),
	F(skb_cgroup_classid),
	F(skb_cgroup_id),
	F(skb_ancestor_cgroup_id),
	F(tcp_sock),
	F(get_listener_sock),
	F(tcp_check_syncookie),
	F(skb_ecn_set_ce),
	F(tcp_gen_syncookie),
	F(sk_assign),
	F(skb_set_tstamp),
	F(ktime_get_coarse_ns),
	0,
};
static const u16 xdp[] = { F(perf_event_output),
			   F(csum_diff),
			   F(xdp_adjust_head),
			   F(xdp_adjust_meta),
			   F(redirect),
			   F(redirect_map),
			   F(xdp_adjust_tail),
			   F(xdp_get_buff_len),
			   F(xdp_load_bytes),
			   F(xdp_store_bytes),
			   F(fib_lookup),
			   F(check_mtu),
			   F(tcp_check_syncookie),
			   F(tcp_gen_syncookie),
			   F(ktime_get_coarse_ns),
			   0 };
static const u16 cg_skb[] = { F(sk_fullsock),
			      F(sk_storage_get),
			      F(sk_storage_delete),
			      F(skb_cgroup_id),
			      F(skb_ancestor_cgroup_id),
			      F(sk_cgroup_id),
			      F(sk_ancestor_cgroup_id),
			      F(tcp_sock),
			      F(get_listener_sock),
			      F(skb_ecn_set_ce),
			      F(get_local_storage),
			      0 };
static const u16 lwt[] = {
	F(skb_load_bytes),  F(skb_pull_data),     F(csum_diff),        F(get_cgroup_classid),  F(get_route_realm),
	F(get_hash_recalc), F(perf_event_output), F(skb_under_cgroup), F(ktime_get_coarse_ns), 0
};
static const u16 lwt_xmit[] = {
	F(skb_get_tunnel_key), F(skb_set_tunnel_key), F(skb_get_tunnel_opt), F(skb_set_tunnel_opt),
	F(redirect),           F(clone_redirect),     F(skb_change_tail),    F(skb_change_head),
	F(skb_store_bytes),    F(csum_update),        F(csum_level),         F(l3_csum_replace),
	F(l4_csum_replace),    F(set_hash_invalid),   F(lwt_push_encap),     0
};
static const u16 lwt_in[] = { F(lwt_push_encap), 0 };
static const u16 sk_skb[] = { F(skb_store_bytes),
			      F(skb_load_bytes),
			      F(skb_pull_data),
			      F(skb_change_tail),
			      F(skb_change_head),
			      F(skb_adjust_room),
			      F(get_socket_cookie),
			      F(get_socket_uid),
			      F(sk_redirect_map),
			      F(sk_redirect_hash),
			      F(perf_event_output),
			      F(ktime_get_coarse_ns),
			      0 };
static const u16 sk_msg[] = { F(msg_redirect_map),     F(msg_redirect_hash),     F(msg_apply_bytes),
			      F(msg_cork_bytes),       F(msg_pull_data),         F(msg_push_data),
			      F(msg_pop_data),         F(perf_event_output),     F(get_current_uid_gid),
			      F(get_current_pid_tgid), F(sk_storage_get),        F(sk_storage_delete),
			      F(get_netns_cookie),     F(get_current_cgroup_id), F(get_current_ancestor_cgroup_id),
			      F(get_cgroup_classid),   F(ktime_get_coarse_ns),   0 };
static const u16 sock_ops[] = { F(setsockopt),
				F(getsockopt),
				F(sock_ops_cb_flags_set),
				F(sock_map_update),
				F(sock_hash_update),
				F(get_socket_cookie),
				F(get_local_storage),
				F(perf_event_output),
				F(sk_storage_get),
				F(sk_storage_delete),
				F(get_netns_cookie),
				F(load_hdr_opt),
				F(store_hdr_opt),
				F(reserve_hdr_opt),
				F(tcp_sock),
				F(ktime_get_coarse_ns),
				0 };
/* What all hooks of cgroups in process context share. */
static const u16 cgroup[] = { F(get_local_storage),
			      F(get_retval),
			      F(set_retval),
			      F(get_current_uid_gid),
			      F(get_current_pid_tgid),
			      F(get_current_comm),
			      F(get_current_cgroup_id),
			      F(get_current_ancestor_cgroup_id),
			      F(get_cgroup_classid),
			      F(perf_event_output),
			      0 };
static const u16 cg_sock[] = { F(get_socket_cookie), F(get_netns_cookie), F(sk_storage_get), F(ktime_get_coarse_ns),
			       0 };
static const u16 sock_addr[] = { F(bind),           F(get_socket_cookie),   F(get_netns_cookie),
				 F(sk_storage_get), F(sk_storage_delete),   F(setsockopt),
				 F(getsockopt),     F(ktime_get_coarse_ns), 0 };
static const u16 sysctl[] = { F(sysctl_get_name),      F(sysctl_get_current_value), F(sysctl_get_new_value),
			      F(sysctl_set_new_value), F(ktime_get_coarse_ns),      0 };
static const u16 sockopt[] = {
	F(get_netns_cookie), F(sk_storage_get), F(sk_storage_delete), F(setsockopt), F(getsockopt), F(tcp_sock), 0
};
static const u16 reuseport[] = { F(sk_select_reuseport), F(skb_load_bytes),      F(skb_load_bytes_relative),
				 F(get_socket_cookie),   F(ktime_get_coarse_ns), 0 };
static const u16 sk_lookup[] = { F(perf_event_output), F(sk_assign), F(sk_release), F(ktime_get_coarse_ns), 0 };
static const u16 load_only[] = { F(skb_load_bytes), F(ktime_get_coarse_ns), 0 };
static const u16 kprobe[] = { F(override_return), F(get_func_ip), F(get_attach_cookie), 0 };
static const u16 perf_event[] = { F(perf_prog_read_value), F(read_branch_records), F(get_attach_cookie), 0 };

static const u16 *const sets[][3] = {
	[BPF_PROG_TYPE_SOCKET_FILTER] = { sk_filter },
	[BPF_PROG_TYPE_KPROBE] = { tracing, kprobe },
	[BPF_PROG_TYPE_SCHED_CLS] = { tc, lookups },
	[BPF_PROG_TYPE_SCHED_ACT] = { tc, lookups },
	[BPF_PROG_TYPE_TRACEPOINT] = { tracing },
	[BPF_PROG_TYPE_XDP] = { xdp, lookups },
	[BPF_PROG_TYPE_PERF_EVENT] = { tracing, perf_event },
	[BPF_PROG_TYPE_CGROUP_SKB] = { sk_filter, cg_skb, lookups },
	[BPF_PROG_TYPE_CGROUP_SOCK] = { cgroup, cg_sock },
	[BPF_PROG_TYPE_LWT_IN] = { lwt, lwt_in },
	[BPF_PROG_TYPE_LWT_OUT] = { lwt },
	[BPF_PROG_TYPE_LWT_XMIT] = { lwt, lwt_xmit },
	[BPF_PROG_TYPE_SOCK_OPS] = { sock_ops },
	[BPF_PROG_TYPE_SK_SKB] = { sk_skb, lookups },
	[BPF_PROG_TYPE_CGROUP_DEVICE] = { cgroup },
	[BPF_PROG_TYPE_SK_MSG] = { sk_msg },
	[BPF_PROG_TYPE_RAW_TRACEPOINT] = { tracing },
	[BPF_PROG_TYPE_CGROUP_SOCK_ADDR] = { cgroup, sock_addr, lookups },
	[BPF_PROG_TYPE_LWT_SEG6LOCAL] = { lwt },
	[BPF_PROG_TYPE_SK_REUSEPORT] = { reuseport },
	[BPF_PROG_TYPE_FLOW_DISSECTOR] = { load_only },
	[BPF_PROG_TYPE_CGROUP_SYSCTL] = { cgroup, sysctl },
	[BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE] = { tracing },
	[BPF_PROG_TYPE_CGROUP_SOCKOPT] = { cgroup, sockopt },
	[BPF_PROG_TYPE_SK_LOOKUP] = { sk_lookup },
};

static bool contains(const u16 *set, u32 id)
{
	for (; set && *set; set++)
		if (*set == id)
			return true;
	return false;
}

const struct bpf_helper *bpf_helper_get(u32 id)
{
	if (id >= __BPF_FUNC_MAX_ID)
		return NULL;
	helpers[id].name = names[id];
	return &helpers[id];
}

const char *bpf_helper_name(u32 id)
{
	return id < __BPF_FUNC_MAX_ID ? names[id] : "unknown";
}

/* A hook where the type's helper has no meaning. */
static bool hook_refuses(u32 id, u32 type, u32 attach)
{
	switch (id) {
	case BPF_FUNC_bind: return attach != BPF_CGROUP_INET4_CONNECT && attach != BPF_CGROUP_INET6_CONNECT;
	case BPF_FUNC_setsockopt:
	case BPF_FUNC_getsockopt: return type == BPF_PROG_TYPE_CGROUP_SOCKOPT && attach != BPF_CGROUP_SETSOCKOPT;
	case BPF_FUNC_get_retval:
	case BPF_FUNC_set_retval: break;
	default: return false;
	}
	switch (attach) {
	case BPF_CGROUP_INET_INGRESS: /* also who named none */
	case BPF_CGROUP_INET_EGRESS:
	case BPF_CGROUP_SOCK_OPS:
	case BPF_CGROUP_UDP4_RECVMSG:
	case BPF_CGROUP_UDP6_RECVMSG:
	case BPF_CGROUP_INET4_GETPEERNAME:
	case BPF_CGROUP_INET6_GETPEERNAME:
	case BPF_CGROUP_INET4_GETSOCKNAME:
	case BPF_CGROUP_INET6_GETSOCKNAME: return true;
	}
	return false;
}

bool bpf_helper_allowed(u32 id, u32 type, u32 attach, bool perfmon, bool bpf)
{
	if (id >= __BPF_FUNC_MAX_ID || !helpers[id].known || type >= ARRAY_SIZE(sets) || hook_refuses(id, type, attach))
		return false;
	for (int i = 0; i < 3; i++)
		if (contains(sets[type][i], id))
			return true;
	return contains(base, id) || (bpf && contains(base_bpf, id)) || (bpf && perfmon && contains(base_perfmon, id));
}

void bpf_helper_set(u32 id, bpf_helper_fn fn)
{
	if (id < __BPF_FUNC_MAX_ID)
		helpers[id].fn = fn;
}

/* In place of helpers that nobody brought: the verifier took their results for granted, so these must fit. */
static u64 absent_number(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)
{
	return (u64)(s64)-EOPNOTSUPP;
}

static u64 absent_object(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)
{
	return 0;
}

bpf_helper_fn bpf_helper_code(u32 id)
{
	if (id < __BPF_FUNC_MAX_ID && helpers[id].fn)
		return helpers[id].fn;
	return id >= __BPF_FUNC_MAX_ID || helpers[id].ret <= RET_VOID ? absent_number : absent_object;
}
