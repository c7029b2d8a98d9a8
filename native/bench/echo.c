/* Sends every datagram back to where it came from. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "loadgen.h"

enum { BATCH = 64, DATAGRAM_BYTES = 9216, SOCKET_BYTES = 8 << 20 };

void run_echo(const struct options *o) {
  static uint8_t bytes[BATCH][DATAGRAM_BYTES];
  int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  int off = 0, size = SOCKET_BYTES;
  if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) fail("IPV6_V6ONLY");
  /* The kernel's limit may be lower; then what it gives has to do. */
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  struct timeval wait = {.tv_usec = 200000};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0) fail("SO_RCVTIMEO");
  struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(o->port)};
  if (bind(fd, (struct sockaddr *)&here, sizeof here) != 0) fail("bind");
  puts("ready");
  fflush(stdout);

  struct sockaddr_storage from[BATCH];
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
    for (int i = 0; i < got; i++) pieces[i].iov_len = messages[i].msg_len;
    int sent = 0;
    while (sent < got) {
      int put = sendmmsg(fd, messages + sent, (unsigned)(got - sent), 0);
      /* One that cannot be sent is not tried again. */
      sent += put > 0 ? put : 1;
    }
  }
  close(fd);
}
