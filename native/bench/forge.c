/*
 * Frames that nobody honest sends, put right into a TUN device: pings to the gateway itself, ICMP errors about packets that never
 * were, first fragments without a second. Each has a valid checksum, so that none is dropped for less than what it is.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "loadgen.h"

enum { MOST_BYTES = 1280, PAYLOAD_BYTES = 56, UDP_HEADER = 8 };

static uint64_t random_state = 88172645463325252u;

/* xorshift64 (Marsaglia): numbers that no table is made for. */
static uint32_t random_word(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)random_state;
}

static void write_header(uint8_t *at, const struct in6_addr *source, const struct in6_addr *destination, uint8_t next,
                         size_t length) {
  struct ip6_hdr header = {.ip6_src = *source, .ip6_dst = *destination};
  header.ip6_flow = htonl(6u << 28);
  header.ip6_plen = htons((uint16_t)length);
  header.ip6_nxt = next;
  header.ip6_hlim = 64;
  memcpy(at, &header, sizeof header);
}

/* RFC 4443 section 2.3, over a message that lies behind its header or a fragment's. */
static void write_checksum(const uint8_t *header, uint8_t *message, size_t length) {
  uint32_t sum = IPPROTO_ICMPV6 + (uint32_t)length;
  for (size_t i = 8; i < sizeof(struct ip6_hdr); i += 2) sum += (uint32_t)(header[i] << 8 | header[i + 1]);
  for (size_t i = 0; i < length; i += 2) sum += (uint32_t)(message[i] << 8 | message[i + 1]);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  uint16_t checksum = htons((uint16_t)~sum);
  memcpy(message + 2, &checksum, sizeof checksum);
}

static size_t make_echo(uint8_t *frame, const struct in6_addr *source, const struct in6_addr *target) {
  size_t length = sizeof(struct icmp6_hdr) + PAYLOAD_BYTES;
  uint8_t *message = frame + sizeof(struct ip6_hdr);
  memset(message, 0, length);
  message[0] = ICMP6_ECHO_REQUEST;
  uint32_t word = random_word();
  memcpy(message + 4, &word, sizeof word);
  write_header(frame, source, target, IPPROTO_ICMPV6, length);
  write_checksum(frame, message, length);
  return sizeof(struct ip6_hdr) + length;
}

/* "Packet too big", to the server, about a datagram that it is said to have sent to the source. */
static size_t make_error(uint8_t *frame, const struct in6_addr *source, const struct in6_addr *target) {
  size_t quoted = sizeof(struct ip6_hdr) + UDP_HEADER;
  size_t length = sizeof(struct icmp6_hdr) + quoted;
  uint8_t *message = frame + sizeof(struct ip6_hdr);
  memset(message, 0, length);
  message[0] = ICMP6_PACKET_TOO_BIG;
  uint32_t mtu = htonl(68 + random_word() % 1500);
  memcpy(message + 4, &mtu, sizeof mtu);
  write_header(message + sizeof(struct icmp6_hdr), target, source, IPPROTO_UDP, 1400 + UDP_HEADER);
  uint32_t ports = random_word();
  memcpy(message + sizeof(struct icmp6_hdr) + sizeof(struct ip6_hdr), &ports, sizeof ports);
  write_header(frame, source, target, IPPROTO_ICMPV6, length);
  write_checksum(frame, message, length);
  return sizeof(struct ip6_hdr) + length;
}

/* The first fragment of a ping, of an identification that no other has. */
static size_t make_fragment(uint8_t *frame, const struct in6_addr *source, const struct in6_addr *target) {
  size_t echo = make_echo(frame, source, target) - sizeof(struct ip6_hdr);
  uint8_t *fragment = frame + sizeof(struct ip6_hdr);
  memmove(fragment + sizeof(struct ip6_frag), fragment, echo);
  struct ip6_frag header = {
      .ip6f_nxt = IPPROTO_ICMPV6, .ip6f_offlg = IP6F_MORE_FRAG, .ip6f_ident = random_word()};
  memcpy(fragment, &header, sizeof header);
  write_header(frame, source, target, IPPROTO_FRAGMENT, sizeof header + echo);
  return sizeof(struct ip6_hdr) + sizeof header + echo;
}

typedef size_t maker(uint8_t *frame, const struct in6_addr *source, const struct in6_addr *target);

static int open_device(const char *name, struct sockaddr_ll *address) {
  int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("AF_PACKET socket");
  struct ifreq request = {0};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name == NULL ? "" : name);
  if (ioctl(fd, SIOCGIFINDEX, &request) != 0) fail("--interface");
  *address = (struct sockaddr_ll){
      .sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE_IPV6), .sll_ifindex = request.ifr_ifindex};
  int bypass = 1;
  if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof bypass) != 0) fail("PACKET_QDISC_BYPASS");
  return fd;
}

static void forge(const struct options *o, maker *make) {
  struct sockaddr_ll address;
  struct sockaddr_storage target;
  int fd = open_device(o->interface, &address);
  resolve(o->target, o->port, &target);
  if (target.ss_family != AF_INET6) {
    errno = EAFNOSUPPORT;
    fail("--target");
  }
  uint32_t first;
  memcpy(&first, &o->source.s6_addr[12], sizeof first);
  uint64_t start = now_ns(), now = start, end = start + (uint64_t)(o->seconds * 1e9), made = 0, sent = 0;
  while (now < end && !is_ending) {
    if (o->rate > 0 && (double)made > (double)(now - start) / 1e9 * o->rate) {
      nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    } else {
      uint8_t frame[MOST_BYTES];
      struct in6_addr source = o->source;
      source.s6_addr32[3] = htonl(ntohl(first) + (uint32_t)(made % o->hosts));
      size_t length = make(frame, &source, &((struct sockaddr_in6 *)&target)->sin6_addr);
      if (sendto(fd, frame, length, 0, (struct sockaddr *)&address, sizeof address) >= 0) sent++;
      else if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR) fail("sendto");
      made++;
    }
    now = now_ns();
  }
  printf("{\"sent\":%llu,\"seconds\":%.6f}\n", (unsigned long long)sent, (double)(now - start) / 1e9);
}

void run_pings(const struct options *o) { forge(o, make_echo); }
void run_errors(const struct options *o) { forge(o, make_error); }
void run_fragments(const struct options *o) { forge(o, make_fragment); }
