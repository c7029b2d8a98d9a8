/*
 * New IPv6 hosts, one after another: each has an address of its own (a local route must hold them all), sends one datagram and waits for it to come back. What
 * takes longer than for a host that is known is the assignment of its IPv4 address.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loadgen.h"

/* Not in the headers of Debian 12. */
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

enum { WAIT_MS = 1000 };

/* The address that is `n` above another. */
static struct in6_addr nth_address(struct in6_addr first, uint32_t n) {
  uint32_t low = ntohl(first.s6_addr32[3]) + n;
  first.s6_addr32[3] = htonl(low);
  return first;
}

/* Round-trip time in nanoseconds, or 0 where the datagram was lost. */
static uint64_t round_trip(int fd, size_t size) {
  static uint8_t bytes[MAX_PAYLOAD_BYTES];
  uint64_t start = now_ns();
  if (send(fd, bytes, size, 0) < 0) return 0;
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  if (poll(&ready, 1, WAIT_MS) != 1 || recv(fd, bytes, sizeof bytes, 0) < 0) return 0;
  return now_ns() - start;
}

void run_hosts(const struct options *o) {
  struct sockaddr_storage target;
  socklen_t length = resolve(o->target, o->port, &target);
  uint64_t *first = calloc(o->hosts, sizeof *first);
  uint64_t *again = calloc(o->hosts, sizeof *again);
  if (first == NULL || again == NULL) fail("memory");
  size_t answered = 0, known = 0;
  uint64_t start = now_ns();
  for (uint32_t i = 0; i < o->hosts && !is_ending; i++) {
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket");
    int on = 1;
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on) != 0) fail("IPV6_FREEBIND");
    struct sockaddr_in6 source = {.sin6_family = AF_INET6, .sin6_addr = nth_address(o->source, i)};
    if (bind(fd, (struct sockaddr *)&source, sizeof source) != 0) fail("bind");
    if (connect(fd, (struct sockaddr *)&target, length) != 0) fail("connect");
    uint64_t ns = round_trip(fd, o->size);
    if (ns != 0) first[answered++] = ns;
    ns = round_trip(fd, o->size);
    if (ns != 0) again[known++] = ns;
    close(fd);
    double due = o->rate > 0 ? (double)(i + 1) / o->rate * 1e9 : 0;
    double spent = (double)(now_ns() - start);
    if (spent < due) {
      uint64_t rest = (uint64_t)(due - spent);
      nanosleep(&(struct timespec){.tv_sec = (time_t)(rest / 1000000000u), .tv_nsec = (long)(rest % 1000000000u)}, NULL);
    }
  }
  printf("{\"hosts\":%u,\"answered\":%zu,", o->hosts, answered);
  print_times("firstUs", first, answered);
  printf(",");
  print_times("knownUs", again, known);
  puts("}");
}
