/* UDP sockets. What they receive and send: socket-batch.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addon.h"
#include "args.h"
#include "error.h"
#include "socket-address.h"

struct udp_options {
  struct endpoint local;
  bool packet_info;
  int64_t receive_bytes;
  int64_t send_bytes;
};

static bool read_udp_options(napi_env env, napi_value object, struct udp_options *options) {
  static const char *const keys[] = {"address", "port", "scope", "packetInfo", "receiveBytes", "sendBytes"};
  static const char *const names[] = {"options.address", "options.port", "options.scope"};
  napi_valuetype type;
  if (!succeeded(env, napi_typeof(env, object, &type))) return false;
  if (type != napi_object) {
    throw_type_error(env, "options must be an object");
    return false;
  }
  napi_value values[6];
  for (size_t i = 0; i < 6; i++) {
    if (!succeeded(env, napi_get_named_property(env, object, keys[i], &values[i]))) return false;
  }
  /* The address last: a getter of another key could have taken its memory away. */
  return boolean_argument(env, values[3], "options.packetInfo", &options->packet_info) &&
         integer_argument(env, values[4], "options.receiveBytes", 0, INT_MAX / 2, &options->receive_bytes) &&
         integer_argument(env, values[5], "options.sendBytes", 0, INT_MAX / 2, &options->send_bytes) &&
         endpoint_argument(env, values, names, &options->local);
}

/* The kernel's limit may be lower for those without CAP_NET_ADMIN; then what it gives has to do. */
static void set_buffer(int fd, int force, int ask, int64_t bytes) {
  int size = (int)bytes;
  if (size > 0 && setsockopt(fd, SOL_SOCKET, force, &size, sizeof size) != 0) {
    setsockopt(fd, SOL_SOCKET, ask, &size, sizeof size);
  }
}

/* Returns the name of the call that failed, or NULL. */
static const char *prepare_socket(int fd, const struct udp_options *options) {
  int on = 1;
  bool is_v4 = options->local.is_v4;
  /* Who forges an ICMP "packet too big" must not make us send fragments (RFC 9715 section 3.1). */
  int discover = is_v4 ? IP_PMTUDISC_OMIT : IPV6_PMTUDISC_OMIT;
  int level = is_v4 ? IPPROTO_IP : IPPROTO_IPV6;
  if (!is_v4 && setsockopt(fd, level, IPV6_V6ONLY, &on, sizeof on) != 0) return "IPV6_V6ONLY";
  if (setsockopt(fd, level, is_v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &discover, sizeof discover) != 0) {
    return "IP_MTU_DISCOVER";
  }
  if (options->packet_info &&
      setsockopt(fd, level, is_v4 ? IP_PKTINFO : IPV6_RECVPKTINFO, &on, sizeof on) != 0) {
    return "IP_PKTINFO";
  }
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options->receive_bytes);
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options->send_bytes);
  union socket_address address;
  const struct endpoint *local = &options->local;
  socklen_t length = make_socket_address(is_v4, local->words, (uint16_t)local->port, (uint32_t)local->scope, &address);
  return bind(fd, &address.any, length) != 0 ? "bind" : NULL;
}

static napi_value socket_object(napi_env env, int fd, uint16_t port) {
  napi_value socket, fd_value, port_value;
  if (!succeeded(env, napi_create_object(env, &socket)) || !succeeded(env, napi_create_int32(env, fd, &fd_value)) ||
      !succeeded(env, napi_create_uint32(env, port, &port_value)) ||
      !succeeded(env, napi_set_named_property(env, socket, "fd", fd_value)) ||
      !succeeded(env, napi_set_named_property(env, socket, "port", port_value))) {
    return NULL;
  }
  return socket;
}

napi_value open_udp(napi_env env, napi_callback_info info) {
  napi_value argument;
  struct udp_options options;
  if (!arguments(env, info, 1, &argument) || !read_udp_options(env, argument, &options)) return NULL;
  int fd = socket(options.local.is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    throw_system_error(env, errno, "socket", NULL);
    return NULL;
  }
  union socket_address address;
  socklen_t length = sizeof address;
  const char *failed = prepare_socket(fd, &options);
  if (failed == NULL && getsockname(fd, &address.any, &length) != 0) failed = "getsockname";
  if (failed != NULL) {
    int error = errno;
    close(fd);
    throw_system_error(env, error, failed, NULL);
    return NULL;
  }
  napi_value socket = socket_object(env, fd, ntohs(options.local.is_v4 ? address.v4.sin_port : address.v6.sin6_port));
  if (socket == NULL) close(fd);
  return socket;
}

napi_value connect_udp(napi_env env, napi_callback_info info) {
  static const char *const names[] = {"address", "port", "scope"};
  napi_value values[4];
  int fd;
  struct endpoint to;
  if (!arguments(env, info, 4, values) || !descriptor_argument(env, values[0], &fd) ||
      !endpoint_argument(env, values + 1, names, &to)) {
    return NULL;
  }
  union socket_address address;
  socklen_t length = make_socket_address(to.is_v4, to.words, (uint16_t)to.port, (uint32_t)to.scope, &address);
  if (connect(fd, &address.any, length) != 0) throw_socket_error(env, errno, "connect", fd);
  return NULL;
}

napi_value close_udp(napi_env env, napi_callback_info info) {
  napi_value value;
  int fd;
  if (!arguments(env, info, 1, &value) || !descriptor_argument(env, value, &fd)) return NULL;
  /* Linux has closed the descriptor even where it says EINTR. */
  if (close(fd) != 0 && errno != EINTR) throw_socket_error(env, errno, "close", fd);
  return NULL;
}
