#include "args.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

static bool is_type(napi_env env, napi_value value, napi_valuetype wanted, bool *result) {
  napi_valuetype type;
  if (!succeeded(env, napi_typeof(env, value, &type))) return false;
  *result = type == wanted;
  return true;
}

bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
  size_t given = count;
  return succeeded(env, napi_get_cb_info(env, info, &given, values, NULL, NULL));
}

bool integer_argument(napi_env env, napi_value value, const char *name, int64_t least, int64_t most, int64_t *result) {
  bool is_number;
  if (!is_type(env, value, napi_number, &is_number)) return false;
  if (!is_number) {
    throw_type_error(env, "%s must be a number", name);
    return false;
  }
  double number;
  if (!succeeded(env, napi_get_value_double(env, value, &number))) return false;
  /* Also false for NaN. */
  if (!(number >= (double)least && number <= (double)most) || number != floor(number)) {
    throw_range_error(env, "%s must be an integer from %lld to %lld", name, (long long)least, (long long)most);
    return false;
  }
  *result = (int64_t)number;
  return true;
}

bool descriptor_argument(napi_env env, napi_value value, int *result) {
  int64_t number;
  if (!integer_argument(env, value, "fd", 0, INT_MAX, &number)) return false;
  *result = (int)number;
  return true;
}

bool boolean_argument(napi_env env, napi_value value, const char *name, bool *result) {
  bool is_boolean;
  if (!is_type(env, value, napi_boolean, &is_boolean)) return false;
  if (!is_boolean) {
    throw_type_error(env, "%s must be true or false", name);
    return false;
  }
  return succeeded(env, napi_get_value_bool(env, value, result));
}

bool function_argument(napi_env env, napi_value value, const char *name) {
  bool is_function;
  if (!is_type(env, value, napi_function, &is_function)) return false;
  if (!is_function) throw_type_error(env, "%s must be a function", name);
  return is_function;
}

static bool copy_string(napi_env env, napi_value value, const char *name, char *result, size_t size) {
  size_t length;
  if (!succeeded(env, napi_get_value_string_utf8(env, value, result, size, &length))) return false;
  if (strlen(result) != length) {
    throw_range_error(env, "%s must not hold a zero byte", name);
    return false;
  }
  return true;
}

bool string_argument(napi_env env, napi_value value, const char *name, char *result, size_t size) {
  bool is_string;
  if (!is_type(env, value, napi_string, &is_string)) return false;
  if (!is_string) {
    throw_type_error(env, "%s must be a string", name);
    return false;
  }
  size_t length;
  if (!succeeded(env, napi_get_value_string_utf8(env, value, NULL, 0, &length))) return false;
  if (length == 0 || length >= size) {
    throw_range_error(env, "%s must be 1 to %zu bytes long, not %zu", name, size - 1, length);
    return false;
  }
  return copy_string(env, value, name, result, size);
}

static char *string_element(napi_env env, napi_value value, const char *name) {
  bool is_string;
  if (!is_type(env, value, napi_string, &is_string)) return NULL;
  if (!is_string) {
    throw_type_error(env, "%s must hold strings", name);
    return NULL;
  }
  size_t length;
  if (!succeeded(env, napi_get_value_string_utf8(env, value, NULL, 0, &length))) return NULL;
  char *string = malloc(length + 1);
  if (string == NULL) {
    throw_system_error(env, ENOMEM, "malloc", NULL);
  } else if (!copy_string(env, value, name, string, length + 1)) {
    free(string);
    string = NULL;
  }
  return string;
}

char **strings_argument(napi_env env, napi_value value, const char *name) {
  bool is_array;
  uint32_t count;
  if (!succeeded(env, napi_is_array(env, value, &is_array))) return NULL;
  if (!is_array) {
    throw_type_error(env, "%s must be a list of strings", name);
    return NULL;
  }
  if (!succeeded(env, napi_get_array_length(env, value, &count))) return NULL;
  char **strings = calloc((size_t)count + 1, sizeof *strings);
  if (strings == NULL) {
    throw_system_error(env, ENOMEM, "malloc", NULL);
    return NULL;
  }
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    if (!succeeded(env, napi_get_element(env, value, i, &element)) ||
        (strings[i] = string_element(env, element, name)) == NULL) {
      free_strings(strings);
      return NULL;
    }
  }
  return strings;
}

void free_strings(char **strings) {
  if (strings == NULL) return;
  for (char **string = strings; *string != NULL; string++) free(*string);
  free(strings);
}

/* A detached array has length 0, so the callers' checks of lengths refuse it. */
static bool array_argument(napi_env env, napi_value value, const char *name, napi_typedarray_type wanted,
                           const char *kind, void **data, size_t *length) {
  bool is_array;
  if (!succeeded(env, napi_is_typedarray(env, value, &is_array))) return false;
  napi_typedarray_type type = napi_int8_array;
  if (is_array && !succeeded(env, napi_get_typedarray_info(env, value, &type, length, data, NULL, NULL))) return false;
  if (!is_array || type != wanted) {
    throw_type_error(env, "%s must be %s", name, kind);
    return false;
  }
  if (*data == NULL) {
    /* To add even zero to a null pointer is undefined. */
    static uint32_t nothing;
    *data = &nothing;
    *length = 0;
  }
  return true;
}

bool bytes_argument(napi_env env, napi_value value, const char *name, struct byte_view *result) {
  void *data = NULL;
  if (!array_argument(env, value, name, napi_uint8_array, "a Uint8Array", &data, &result->length)) return false;
  result->data = data;
  return true;
}

bool words_argument(napi_env env, napi_value value, const char *name, struct word_view *result) {
  void *data = NULL;
  if (!array_argument(env, value, name, napi_int32_array, "an Int32Array", &data, &result->length)) return false;
  result->data = data;
  return true;
}

bool mishaps_argument(napi_env env, napi_value value, const char *name, struct word_view *result) {
  if (!words_argument(env, value, name, result)) return false;
  if (result->length < 2) {
    throw_range_error(env, "%s must hold 2 words, not %zu", name, result->length);
    return false;
  }
  store_word(result, 0, 0);
  store_word(result, 1, 0);
  return true;
}
