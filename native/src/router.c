/*
 * The raw socket of a router on one link: it hears router solicitations and advertisements, and sends advertisements
 * (RFC 4861). Packets go through receive_batch and send_batch of socket-batch.c; the kernel computes and checks ICMPv6 checksums.
 */
#include <errno.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addon.h"
#include "args.h"
#include "error.h"
#include "result.h"

/* RFC 4861 section 6.1: what has passed a router has another, and is not of this link. */
static const int HOP_LIMIT_OF_LINK = 255;

/* Returns the name of the call that failed, or NULL. */
static const char *prepare_router(int fd, const char *interface, int index) {
  const int on = 1, off = 0, receive_bytes = 1 << 16;
  struct ipv6_mreq all_routers = {.ipv6mr_interface = (unsigned)index};
  static const uint8_t group[16] = {0xff, 0x02, [15] = 2};
  memcpy(&all_routers.ipv6mr_multiaddr, group, sizeof group);
  struct icmp6_filter filter;
  ICMP6_FILTER_SETBLOCKALL(&filter);
  ICMP6_FILTER_SETPASS(ND_ROUTER_SOLICIT, &filter);
  ICMP6_FILTER_SETPASS(ND_ROUTER_ADVERT, &filter);
  const struct {
    const char *name;
    int level, option;
    const void *value;
    socklen_t length;
  } options[] = {
      {"ICMP6_FILTER", IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter},
      {"SO_BINDTODEVICE", SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface)},
      {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes},
      {"IPV6_RECVPKTINFO", IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on},
      {"IPV6_RECVHOPLIMIT", IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on},
      {"IPV6_MULTICAST_HOPS", IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &HOP_LIMIT_OF_LINK, sizeof HOP_LIMIT_OF_LINK},
      {"IPV6_UNICAST_HOPS", IPPROTO_IPV6, IPV6_UNICAST_HOPS, &HOP_LIMIT_OF_LINK, sizeof HOP_LIMIT_OF_LINK},
      /* This machine's own stack is no host of ours. */
      {"IPV6_MULTICAST_LOOP", IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &off, sizeof off},
      {"IPV6_MULTICAST_IF", IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index},
      {"IPV6_JOIN_GROUP", IPPROTO_IPV6, IPV6_JOIN_GROUP, &all_routers, sizeof all_routers},
  };
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
    if (setsockopt(fd, options[i].level, options[i].option, options[i].value, options[i].length) != 0) {
      return options[i].name;
    }
  }
  return NULL;
}

napi_value open_router(napi_env env, napi_callback_info info) {
  napi_value value;
  char interface[IF_NAMESIZE];
  if (!arguments(env, info, 1, &value) || !string_argument(env, value, "interface", interface, sizeof interface)) {
    return NULL;
  }
  unsigned index = if_nametoindex(interface);
  if (index == 0) {
    throw_system_error(env, errno, "if_nametoindex", "there is no interface %s", interface);
    return NULL;
  }
  int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6);
  if (fd < 0) {
    if (errno == EPERM) {
      throw_system_error(env, errno, "socket", "no permission for a raw socket; run as root or with CAP_NET_RAW");
    } else {
      throw_system_error(env, errno, "socket", NULL);
    }
    return NULL;
  }
  const char *failed = prepare_router(fd, interface, (int)index);
  if (failed != NULL) {
    int error = errno;
    close(fd);
    throw_system_error(env, error, failed, NULL);
    return NULL;
  }
  return integer_value(env, fd);
}
