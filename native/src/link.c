/* The state of a network interface, by ioctl: it takes neither privileges nor /sys, so it can be had inside a chroot too. */
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addon.h"
#include "args.h"
#include "error.h"

static napi_value state_object(napi_env env, bool up, int32_t mtu) {
  napi_value state, up_value, mtu_value;
  if (!succeeded(env, napi_create_object(env, &state)) || !succeeded(env, napi_get_boolean(env, up, &up_value)) ||
      !succeeded(env, napi_create_int32(env, mtu, &mtu_value)) ||
      !succeeded(env, napi_set_named_property(env, state, "up", up_value)) ||
      !succeeded(env, napi_set_named_property(env, state, "mtu", mtu_value))) {
    return NULL;
  }
  return state;
}

napi_value link_state(napi_env env, napi_callback_info info) {
  napi_value value, none;
  struct ifreq flags = {0}, mtu = {0};
  if (!arguments(env, info, 1, &value) || !string_argument(env, value, "name", flags.ifr_name, sizeof flags.ifr_name)) {
    return NULL;
  }
  memcpy(mtu.ifr_name, flags.ifr_name, sizeof mtu.ifr_name);
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    throw_system_error(env, errno, "socket", NULL);
    return NULL;
  }
  const char *call = "SIOCGIFFLAGS";
  int status = ioctl(fd, SIOCGIFFLAGS, &flags);
  if (status == 0) {
    call = "SIOCGIFMTU";
    status = ioctl(fd, SIOCGIFMTU, &mtu);
  }
  int error = errno;
  close(fd);
  if (status == 0) return state_object(env, (flags.ifr_flags & IFF_UP) != 0, mtu.ifr_mtu);
  if (error != ENODEV) {
    throw_system_error(env, error, call, NULL);
    return NULL;
  }
  return succeeded(env, napi_get_null(env, &none)) ? none : NULL;
}
