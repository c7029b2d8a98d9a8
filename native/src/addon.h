/* What the addon exports, by subject. Nothing here is shared between threads: each thread that loads the addon gets its own. */
#ifndef NAT64D_ADDON_H
#define NAT64D_ADDON_H

#include <node_api.h>
#include <stdbool.h>

/* The virtio-net header of kernels before any feature made it longer (struct virtio_net_hdr). */
enum { VNET_HDR_BYTES = 10 };

/* 65535, the largest IP packet, and what a super-frame of a 64 KiB payload adds: 40 + 20 bytes, rounded up to a multiple of 16. */
enum { MAX_FRAME_BYTES = 65600 };

/* Words of a datagram's fields (index.d.ts). */
enum { UDP_FIELDS = 16 };

/* tun.c */
napi_value open_queue(napi_env env, napi_callback_info info);
napi_value set_persist(napi_env env, napi_callback_info info);
napi_value set_offload(napi_env env, napi_callback_info info);
napi_value close_queue(napi_env env, napi_callback_info info);
bool define_offload(napi_env env, napi_value exports);

/* burst.c */
napi_value read_burst(napi_env env, napi_callback_info info);
napi_value write_burst(napi_env env, napi_callback_info info);
napi_value wait_readable(napi_env env, napi_callback_info info);

/* steering.c */
napi_value set_steering(napi_env env, napi_callback_info info);
napi_value clear_steering(napi_env env, napi_callback_info info);

/* sums.c */
napi_value sum_ranges(napi_env env, napi_callback_info info);

/* link.c */
napi_value link_state(napi_env env, napi_callback_info info);
napi_value interface_addresses(napi_env env, napi_callback_info info);

/* lock.c */
napi_value lock_file(napi_env env, napi_callback_info info);

/* process.c */
napi_value set_no_new_privs(napi_env env, napi_callback_info info);
napi_value drop_bounding_set(napi_env env, napi_callback_info info);
napi_value keep_capabilities(napi_env env, napi_callback_info info);
napi_value set_capabilities(napi_env env, napi_callback_info info);
napi_value change_root(napi_env env, napi_callback_info info);
napi_value release_memory(napi_env env, napi_callback_info info);
napi_value execute(napi_env env, napi_callback_info info);

/* run.c */
napi_value run_program(napi_env env, napi_callback_info info);

/* datagram.c */
napi_value open_datagram(napi_env env, napi_callback_info info);
napi_value send_datagram(napi_env env, napi_callback_info info);

/* udp.c */
napi_value open_udp(napi_env env, napi_callback_info info);
napi_value connect_udp(napi_env env, napi_callback_info info);
napi_value close_udp(napi_env env, napi_callback_info info);

/* socket-batch.c */
napi_value receive_batch(napi_env env, napi_callback_info info);
napi_value send_batch(napi_env env, napi_callback_info info);

/* router.c */
napi_value open_router(napi_env env, napi_callback_info info);

/* poller.c */
bool define_poller(napi_env env, napi_value exports);

#endif
