/* What the files of the addon share. Nothing here is global state: the addon runs in several threads at once. */
#ifndef NAT64D_COMMON_H
#define NAT64D_COMMON_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VNET_HDR_BYTES 10
/* The largest IPv6 packet without a jumbo option, rounded up. */
#define MAX_FRAME_BYTES 65600

/* Throws an Error for a failed system call: code, errno, syscall, and a message with `advice` (may be NULL). Returns NULL. */
napi_value throw_system_error(napi_env env, int error, const char *syscall, const char *advice);

/* Fetches exactly `count` arguments; throws a TypeError and returns false if there are fewer. */
bool get_args(napi_env env, napi_callback_info info, size_t count, napi_value *args, const char *usage);

/* Each reads one argument; on a wrong type or range it throws, naming `name`, and returns false. */
bool get_int(napi_env env, napi_value value, int32_t min, int32_t max, const char *name, int32_t *result);
bool get_bool(napi_env env, napi_value value, const char *name, bool *result);
bool get_function(napi_env env, napi_value value, const char *name);

/* A typed array's memory. Valid until control returns to JavaScript. */
struct bytes {
  uint8_t *data;
  size_t length;
};
struct words {
  int32_t *data;
  size_t length;
};
bool get_bytes(napi_env env, napi_value value, const char *name, struct bytes *result);
bool get_words(napi_env env, napi_value value, const char *name, struct words *result);

bool set_function(napi_env env, napi_value object, const char *name, napi_callback callback);
bool set_int(napi_env env, napi_value object, const char *name, int32_t value);

/* Each adds its exports; false if that failed (an exception is pending). */
bool init_tun(napi_env env, napi_value exports);
bool init_burst(napi_env env, napi_value exports);
bool init_poller(napi_env env, napi_value exports);

#endif
