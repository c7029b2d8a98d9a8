/*
 * Arguments, checked. Each function returns false with a TypeError (wrong kind) or RangeError (right kind, wrong value)
 * pending; `name` is what the message calls the argument.
 */
#ifndef NAT64D_ARGS_H
#define NAT64D_ARGS_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The memory behind a Uint8Array or an Int32Array, on an ArrayBuffer or a SharedArrayBuffer. Valid during the call only. */
struct byte_view {
  uint8_t *data;
  size_t length;
};

struct word_view {
  int32_t *data;
  size_t length; /* in words */
};

/* The first `count` arguments; undefined where there are fewer. */
bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values);

bool integer_argument(napi_env env, napi_value value, const char *name, int64_t least, int64_t most, int64_t *result);
bool descriptor_argument(napi_env env, napi_value value, int *result);
bool boolean_argument(napi_env env, napi_value value, const char *name, bool *result);
bool function_argument(napi_env env, napi_value value, const char *name);

/* A string of 1 to size - 1 bytes without NUL. */
bool string_argument(napi_env env, napi_value value, const char *name, char *result, size_t size);

bool bytes_argument(napi_env env, napi_value value, const char *name, struct byte_view *result);
bool words_argument(napi_env env, napi_value value, const char *name, struct word_view *result);

#endif
