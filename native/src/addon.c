/* Registration. NAPI_MODULE_INIT makes the addon context-aware: this runs once in each thread that loads it. */
#include "addon.h"

#include "error.h"

static bool define_functions(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    napi_callback function;
  } functions[] = {
      {"openQueue", open_queue},   {"setPersist", set_persist}, {"setOffload", set_offload},
      {"closeQueue", close_queue}, {"read", read_burst},        {"write", write_burst},
      {"setNoNewPrivs", set_no_new_privs},
      {"dropBoundingSet", drop_bounding_set},
      {"keepCapabilities", keep_capabilities},
      {"setCapabilities", set_capabilities},
      {"chroot", change_root},
      {"releaseMemory", release_memory},
      {"exec", execute},
      {"run", run_program},
      {"openDatagram", open_datagram},
      {"sendDatagram", send_datagram},
      {"setSteering", set_steering},
      {"clearSteering", clear_steering},
      {"wait", wait_readable},
      {"sums", sum_ranges},
      {"interfaceAddresses", interface_addresses},
      {"linkState", link_state},
      {"lock", lock_file},
      {"openUdp", open_udp},
      {"connectUdp", connect_udp},
      {"closeUdp", close_udp},
      {"receiveBatch", receive_batch},
      {"sendBatch", send_batch},
      {"openRouter", open_router},
  };
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    napi_value function;
    const char *name = functions[i].name;
    if (!succeeded(env, napi_create_function(env, name, NAPI_AUTO_LENGTH, functions[i].function, NULL, &function)) ||
        !succeeded(env, napi_set_named_property(env, exports, name, function))) {
      return false;
    }
  }
  return true;
}

static bool define_number(napi_env env, napi_value object, const char *name, uint32_t number) {
  napi_value value;
  return succeeded(env, napi_create_uint32(env, number, &value)) &&
         succeeded(env, napi_set_named_property(env, object, name, value));
}

NAPI_MODULE_INIT() {
  if (!define_functions(env, exports) || !define_number(env, exports, "VNET_HDR_BYTES", VNET_HDR_BYTES) ||
      !define_number(env, exports, "MAX_FRAME_BYTES", MAX_FRAME_BYTES) ||
      !define_number(env, exports, "UDP_FIELDS", UDP_FIELDS) || !define_offload(env, exports) ||
      !define_poller(env, exports)) {
    return NULL;
  }
  return exports;
}
