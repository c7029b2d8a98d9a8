/*
 * UDP in IPv6 frames, put on an interface as they are. Put right into the gateway's own device, without --mac, they come
 * without having been forwarded, so that the gateway is the bottleneck and not the way there.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <arpa/inet.h>

#include "loadgen.h"

enum { BATCH = 64, FIRST_PORT = 1024, PORTS = 64000, ALIGNMENT = 64 };

struct frame {
  struct ether_header ethernet;
  struct ip6_hdr ip;
  struct udphdr udp;
} __attribute__((packed));

static uint32_t sum_bytes(const void *bytes, size_t length) {
  const uint8_t *at = bytes;
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < length; i += 2) sum += (uint32_t)(at[i] << 8 | at[i + 1]);
  if (length % 2 != 0) sum += (uint32_t)(at[length - 1] << 8);
  return sum;
}

static uint16_t checksum_of(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  uint16_t checksum = (uint16_t)~sum;
  return htons(checksum == 0 ? 0xffff : checksum);
}

/* Returns the socket; `address` is the interface's. */
static int open_interface(const struct options *o, struct frame *model, struct sockaddr_ll *address) {
  /* SOCK_DGRAM leaves out the Ethernet header, which a TUN device has not. */
  int fd = socket(AF_PACKET, (o->has_mac ? SOCK_RAW : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("AF_PACKET socket");
  struct ifreq request = {0};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", o->interface == NULL ? "" : o->interface);
  if (o->has_mac) {
    if (ioctl(fd, SIOCGIFHWADDR, &request) != 0) fail("--interface");
    memcpy(model->ethernet.ether_shost, request.ifr_hwaddr.sa_data, 6);
  }
  if (ioctl(fd, SIOCGIFINDEX, &request) != 0) fail("--interface");
  *address = (struct sockaddr_ll){
      .sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE_IPV6), .sll_ifindex = request.ifr_ifindex};
  int bypass = 1;
  if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof bypass) != 0) fail("PACKET_QDISC_BYPASS");
  return fd;
}

/* Fills in all that frames have in common. Returns the sum of what their checksums have in common. */
static uint32_t make_model(const struct options *o, struct frame *model) {
  struct sockaddr_storage target;
  resolve(o->target, o->port, &target);
  if (target.ss_family != AF_INET6) {
    errno = EAFNOSUPPORT;
    fail("--target");
  }
  uint16_t udp_length = (uint16_t)(sizeof model->udp + o->size);
  memcpy(model->ethernet.ether_dhost, o->gateway_mac, 6);
  model->ethernet.ether_type = htons(ETHERTYPE_IPV6);
  model->ip.ip6_flow = htonl(6u << 28);
  model->ip.ip6_plen = htons(udp_length);
  model->ip.ip6_nxt = IPPROTO_UDP;
  model->ip.ip6_hlim = 64;
  model->ip.ip6_src = o->source;
  model->ip.ip6_dst = ((struct sockaddr_in6 *)&target)->sin6_addr;
  model->udp.dest = htons(o->port);
  model->udp.len = htons(udp_length);
  /* The source's last word and the source port are a frame's own; the payload is zero. */
  return sum_bytes(&o->source, 12) + sum_bytes(&model->ip.ip6_dst, 16) + IPPROTO_UDP + 2u * udp_length + o->port;
}

void run_raw(const struct options *o) {
  struct frame model = {0};
  struct sockaddr_ll address;
  int fd = open_interface(o, &model, &address);
  uint32_t common = make_model(o, &model);
  uint32_t first_host;
  memcpy(&first_host, &o->source.s6_addr[12], 4);
  first_host = ntohl(first_host);

  size_t skip = o->has_mac ? 0 : sizeof model.ethernet;
  size_t length = sizeof model + o->size;
  size_t step = (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  uint8_t *bytes = calloc(BATCH, step);
  if (bytes == NULL) fail("memory");
  struct iovec pieces[BATCH];
  struct mmsghdr messages[BATCH] = {0};
  for (size_t i = 0; i < BATCH; i++) {
    memcpy(bytes + i * step, &model, sizeof model);
    pieces[i] = (struct iovec){.iov_base = bytes + i * step + skip, .iov_len = length - skip};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = &address;
    messages[i].msg_hdr.msg_namelen = sizeof address;
  }

  uint64_t start = now_ns();
  uint64_t end = start + (uint64_t)(o->seconds * 1e9);
  uint64_t sent = 0, made = 0, now = start;
  uint32_t flow = 0, host = 0, in_burst = 0;
  while (now < end && !is_ending) {
    size_t batch = BATCH;
    if (o->rate > 0) {
      double due = (double)(now - start) / 1e9 * o->rate - (double)made;
      if (due < 1) {
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
        now = now_ns();
        continue;
      }
      if (due < BATCH) batch = (size_t)due;
    }
    for (size_t i = 0; i < batch; i++) {
      struct frame *frame = (struct frame *)(bytes + i * step);
      uint32_t address = first_host + host;
      uint16_t port = (uint16_t)(FIRST_PORT + flow % PORTS);
      frame->ip.ip6_src.s6_addr32[3] = htonl(address);
      frame->udp.source = htons(port);
      frame->udp.check = checksum_of(common + (address >> 16) + (address & 0xffff) + port);
      if (++in_burst == o->burst) {
        in_burst = 0;
        if (++flow == o->flows) flow = 0;
        if (++host == o->hosts) host = 0;
      }
    }
    made += batch;
    int put = sendmmsg(fd, messages, (unsigned)batch, 0);
    if (put > 0) sent += (uint64_t)put;
    else if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR) fail("sendmmsg");
    now = now_ns();
  }
  printf("{\"sent\":%llu,\"seconds\":%.6f}\n", (unsigned long long)sent, (double)(now - start) / 1e9);
}
