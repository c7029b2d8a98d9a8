#include "result.h"

#include "error.h"

napi_value integer_value(napi_env env, int64_t number) {
  napi_value result;
  return succeeded(env, napi_create_int64(env, number, &result)) ? result : NULL;
}

napi_value boolean_value(napi_env env, bool value) {
  napi_value result;
  return succeeded(env, napi_get_boolean(env, value, &result)) ? result : NULL;
}
