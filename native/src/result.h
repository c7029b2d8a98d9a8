/* What functions give back. Each is NULL, with an exception pending, where the thread can make no more of them. */
#ifndef NAT64D_RESULT_H
#define NAT64D_RESULT_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>

napi_value integer_value(napi_env env, int64_t number);
napi_value boolean_value(napi_env env, bool value);

#endif
