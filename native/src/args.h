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

/* On a SharedArrayBuffer words change while we look at them: each is loaded once, checked, and used from the copy. */
static inline int32_t load_word(const struct word_view *words, size_t index) {
  return __atomic_load_n(&words->data[index], __ATOMIC_RELAXED);
}

static inline void store_word(const struct word_view *words, size_t index, int32_t value) {
  __atomic_store_n(&words->data[index], value, __ATOMIC_RELAXED);
}

/* The first `count` arguments; undefined where there are fewer. */
bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values);

bool integer_argument(napi_env env, napi_value value, const char *name, int64_t least, int64_t most, int64_t *result);
bool descriptor_argument(napi_env env, napi_value value, int *result);
bool boolean_argument(napi_env env, napi_value value, const char *name, bool *result);
bool function_argument(napi_env env, napi_value value, const char *name);

/* A string of 1 to size - 1 bytes without NUL. */
bool string_argument(napi_env env, napi_value value, const char *name, char *result, size_t size);

/* A list of strings without NUL, ended by NULL, as execve takes it; for free_strings. NULL with an exception pending. */
char **strings_argument(napi_env env, napi_value value, const char *name);
void free_strings(char **strings);

bool bytes_argument(napi_env env, napi_value value, const char *name, struct byte_view *result);
bool words_argument(napi_env env, napi_value value, const char *name, struct word_view *result);

/* Two words or more, of which the first two are set to 0: how many frames or datagrams had an error, and the last error. */
bool mishaps_argument(napi_env env, napi_value value, const char *name, struct word_view *result);

#endif
