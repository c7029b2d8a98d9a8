/*
 * What a plain copy of each frame out of a TUN device and back into it costs: checksums and super-frames are left to the kernel, one
 * thread for each queue.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "loadgen.h"

/* From Linux 6.2; the headers of Debian 12 are older. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum { FRAME_BYTES = sizeof(struct virtio_net_hdr) + 65535 + 40, AWAKE_NS = 100000, SLEEP_MS = 100 };

static int open_queue(const char *name) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) fail("/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  if (ioctl(fd, TUNSETIFF, &request) != 0) fail("--interface");
  unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  /* Kernels before 6.2 do not know USO. */
  if (ioctl(fd, TUNSETOFFLOAD, offloads | TUN_F_USO4 | TUN_F_USO6) != 0 && ioctl(fd, TUNSETOFFLOAD, offloads) != 0) {
    fail("TUNSETOFFLOAD");
  }
  return fd;
}

/* Waking up is dear: a thread gives its CPU away for a moment before it sleeps. */
static void wait_for_frame(int fd) {
  struct pollfd frame = {.fd = fd, .events = POLLIN};
  for (uint64_t end = now_ns() + AWAKE_NS; now_ns() < end && !is_ending; sched_yield()) {
    if (poll(&frame, 1, 0) != 0) return;
  }
  poll(&frame, 1, SLEEP_MS);
}

static void *copy_frames(void *argument) {
  const int fd = *(const int *)argument;
  uint8_t frame[FRAME_BYTES];
  while (!is_ending) {
    ssize_t length = read(fd, frame, sizeof frame);
    if (length < 0) {
      if (errno != EAGAIN && errno != EINTR) fail("read");
      wait_for_frame(fd);
      continue;
    }
    /* What the kernel refuses is lost, as in a gateway. */
    if (write(fd, frame, (size_t)length) < 0) continue;
  }
  return NULL;
}

void run_copy(const struct options *o) {
  if (o->interface == NULL) {
    errno = EINVAL;
    fail("--interface");
  }
  int queues[MAX_QUEUES];
  pthread_t threads[MAX_QUEUES];
  for (uint32_t i = 0; i < o->queues; i++) queues[i] = open_queue(o->interface);
  for (uint32_t i = 0; i < o->queues; i++) {
    if ((errno = pthread_create(&threads[i], NULL, copy_frames, &queues[i])) != 0) fail("thread");
  }
  puts("ready");
  fflush(stdout);
  for (uint32_t i = 0; i < o->queues; i++) pthread_join(threads[i], NULL);
}
