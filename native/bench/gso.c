/* One UDP socket whose sends the kernel cuts: as a QUIC server does it. */
#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loadgen.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { MAX_SEGMENTS = 64 };

void run_gso(const struct options *o) {
  static uint8_t bytes[MAX_PAYLOAD_BYTES];
  struct sockaddr_storage target;
  socklen_t length = resolve(o->target, o->port, &target);
  int fd = socket(target.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  int segment = (int)o->size;
  if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment) != 0) fail("UDP_SEGMENT");
  if (connect(fd, (struct sockaddr *)&target, length) != 0) fail("connect");

  size_t segments = sizeof bytes / o->size;
  if (segments > MAX_SEGMENTS) segments = MAX_SEGMENTS;
  uint64_t start = now_ns();
  uint64_t end = start + (uint64_t)(o->seconds * 1e9);
  uint64_t sent = 0, now = start;
  while (now < end && !is_ending) {
    ssize_t put = send(fd, bytes, segments * o->size, 0);
    if (put > 0) sent += segments;
    else if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED) fail("send");
    now = now_ns();
  }
  close(fd);
  printf("{\"sent\":%llu,\"seconds\":%.6f}\n", (unsigned long long)sent, (double)(now - start) / 1e9);
}
