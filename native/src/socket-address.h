/* Addresses of sockets. JavaScript's are four words in host order, IPv4 as ::ffff:a.b.c.d, with a port and the scope of a link. */
#ifndef NAT64D_SOCKET_ADDRESS_H
#define NAT64D_SOCKET_ADDRESS_H

#include <netinet/in.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "args.h"

union socket_address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

struct endpoint {
  int32_t words[4];
  int64_t port;
  int64_t scope;
  bool is_v4;
};

/* The arguments of an endpoint: words, port, scope; with their names. */
bool endpoint_argument(napi_env env, const napi_value values[3], const char *const names[3], struct endpoint *result);

void load_address6(const int32_t words[4], struct in6_addr *address);
void store_address4(const struct word_view *words, size_t at, struct in_addr address);
void store_address6(const struct word_view *words, size_t at, const struct in6_addr *address);

/* Returns the length of what it has made. */
socklen_t make_socket_address(bool is_v4, const int32_t words[4], uint16_t port, uint32_t scope,
                              union socket_address *address);

#endif
