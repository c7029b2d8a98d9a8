/*
 * A name server for benchmarks that knows every name and takes next to nothing for it: each has one A record and nothing else.
 * It says so as a forwarder would (RA), and without EDNS options.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "loadgen.h"

enum { BATCH = 64, DATAGRAM_BYTES = 1472, SOCKET_BYTES = 8 << 20, HEADER = 12, OPT = 11, TYPE_A = 1 };

/* A pointer to the question's name, A, IN, 300 s, 192.0.2.1. */
static const uint8_t ANSWER[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0x2c, 0, 4, 192, 0, 2, 1};

/* The root's SOA, 300 s: what a negative answer needs to be kept. */
static const uint8_t AUTHORITY[] = {0, 0,  6, 0, 1, 0, 0, 1, 0x2c, 0,  22, 0, 0, 0, 0,    0,   1,
                                    0, 0, 14, 16, 0, 0, 14, 16, 0,   0, 14, 16, 0, 0, 1, 0x2c};

static const uint8_t OPT_RECORD[OPT] = {0, 0, 41, 0x04, 0xd0};

/* Makes the answer of a query in its place. Returns its length, 0 where it was no query. */
static size_t answer(uint8_t *bytes, size_t length) {
  if (length < HEADER + 5 || (bytes[2] & 0x80) != 0 || bytes[4] != 0 || bytes[5] != 1) return 0;
  size_t at = HEADER;
  while (at < length && bytes[at] != 0) {
    if (bytes[at] > 63) return 0;
    at += 1u + bytes[at];
  }
  if (at + 5 > length) return 0;
  bool is_a = bytes[at + 1] == 0 && bytes[at + 2] == TYPE_A;
  bool has_edns = bytes[11] != 0;
  at += 5;
  if (at + sizeof AUTHORITY + OPT > DATAGRAM_BYTES) return 0;
  bytes[2] = (uint8_t)(0x80 | (bytes[2] & 1));
  bytes[3] = 0x80;
  memset(bytes + 6, 0, 6);
  bytes[is_a ? 7 : 9] = 1;
  const uint8_t *record = is_a ? ANSWER : AUTHORITY;
  size_t size = is_a ? sizeof ANSWER : sizeof AUTHORITY;
  memcpy(bytes + at, record, size);
  at += size;
  if (has_edns) {
    bytes[11] = 1;
    memcpy(bytes + at, OPT_RECORD, OPT);
    at += OPT;
  }
  return at;
}

void run_authority(const struct options *o) {
  static uint8_t bytes[BATCH][DATAGRAM_BYTES];
  int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  int off = 0, size = SOCKET_BYTES;
  if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) fail("IPV6_V6ONLY");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  struct timeval wait = {.tv_usec = 200000};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0) fail("SO_RCVTIMEO");
  struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(o->port)};
  if (bind(fd, (struct sockaddr *)&here, sizeof here) != 0) fail("bind");
  puts("ready");
  fflush(stdout);

  struct sockaddr_in6 from[BATCH];
  struct iovec pieces[BATCH];
  struct mmsghdr messages[BATCH];
  while (!is_ending) {
    for (size_t i = 0; i < BATCH; i++) {
      pieces[i] = (struct iovec){.iov_base = bytes[i], .iov_len = DATAGRAM_BYTES};
      messages[i].msg_hdr = (struct msghdr){
          .msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    int got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    if (got < 0) {
      if (errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED) continue;
      fail("recvmmsg");
    }
    int ready = 0;
    for (int i = 0; i < got; i++) {
      size_t length = answer(bytes[i], messages[i].msg_len);
      if (length == 0) continue;
      pieces[i].iov_len = length;
      messages[ready++].msg_hdr = messages[i].msg_hdr;
    }
    for (int sent = 0; sent < ready;) {
      int put = sendmmsg(fd, messages + sent, (unsigned)(ready - sent), 0);
      /* One that cannot be sent is not tried again. */
      sent += put > 0 ? put : 1;
    }
  }
  close(fd);
}
