/*
 * The state of a network interface, by ioctl, and its addresses, by getifaddrs: they take neither privileges nor /sys, so they can be
 * had inside a chroot too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
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

/* How many ones a netmask begins with. */
static int prefix_length(const uint8_t *mask, size_t size) {
  int length = 0;
  for (size_t i = 0; i < size; i++) length += __builtin_popcount(mask[i]);
  return length;
}

/* Whether an address is this interface's: an IPv4 address may have a label, "name:label". */
static bool is_of(const struct ifaddrs *one, const char *name) {
  size_t length = strlen(name);
  return strncmp(one->ifa_name, name, length) == 0 && (one->ifa_name[length] == '\0' || one->ifa_name[length] == ':');
}

/* "address/length"; false for one of another family. */
static bool write_cidr(const struct ifaddrs *one, char *text, size_t size) {
  if (one->ifa_addr == NULL || one->ifa_netmask == NULL) return false;
  char address[INET6_ADDRSTRLEN];
  int length;
  if (one->ifa_addr->sa_family == AF_INET) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)one->ifa_addr;
    const struct sockaddr_in *mask = (const struct sockaddr_in *)one->ifa_netmask;
    inet_ntop(AF_INET, &in->sin_addr, address, sizeof address);
    length = prefix_length((const uint8_t *)&mask->sin_addr, sizeof mask->sin_addr);
  } else if (one->ifa_addr->sa_family == AF_INET6) {
    const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)one->ifa_addr;
    const struct sockaddr_in6 *mask = (const struct sockaddr_in6 *)one->ifa_netmask;
    inet_ntop(AF_INET6, &in->sin6_addr, address, sizeof address);
    length = prefix_length(mask->sin6_addr.s6_addr, sizeof mask->sin6_addr);
  } else {
    return false;
  }
  snprintf(text, size, "%s/%d", address, length);
  return true;
}

napi_value interface_addresses(napi_env env, napi_callback_info info) {
  napi_value value, list, text_value;
  char name[IFNAMSIZ], text[INET6_ADDRSTRLEN + sizeof "/-2147483648"];
  struct ifaddrs *all;
  if (!arguments(env, info, 1, &value) || !string_argument(env, value, "name", name, sizeof name) ||
      !succeeded(env, napi_create_array(env, &list))) {
    return NULL;
  }
  if (getifaddrs(&all) != 0) {
    throw_system_error(env, errno, "getifaddrs", NULL);
    return NULL;
  }
  uint32_t count = 0;
  bool is_whole = true;
  for (const struct ifaddrs *one = all; one != NULL && is_whole; one = one->ifa_next) {
    if (!is_of(one, name) || !write_cidr(one, text, sizeof text)) continue;
    is_whole = succeeded(env, napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &text_value)) &&
               succeeded(env, napi_set_element(env, list, count++, text_value));
  }
  freeifaddrs(all);
  return is_whole ? list : NULL;
}
