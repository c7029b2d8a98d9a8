/*
 * Datagrams of UDP and raw sockets, many to a call. A datagram's fields are the same on both ways: so that an answer goes back with
 * the fields that its question came with.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "addon.h"
#include "args.h"
#include "error.h"
#include "result.h"
#include "socket-address.h"

/* Datagrams that one system call moves. */
enum { BATCH = 64 };

/* Words of a datagram's fields, UDP_FIELDS in all; the last one is for what may come. */
enum { OFFSET, LENGTH, FAMILY, PORT, SCOPE, ADDRESS, LOCAL = ADDRESS + 4, INTERFACE = LOCAL + 4, HOP_LIMIT };

union control {
  struct cmsghdr alignment;
  uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
};

/* What says that the descriptor is no socket of ours, and not that one datagram had a mishap. */
static bool is_misuse(int error) { return error == EBADF || error == ENOTSOCK || error == EFAULT || error == ENOTCONN; }

static void store_control(const struct word_view *fields, size_t at, struct cmsghdr *control) {
  if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
    struct in_pktinfo packet;
    memcpy(&packet, CMSG_DATA(control), sizeof packet);
    store_address4(fields, at + LOCAL, packet.ipi_addr);
    store_word(fields, at + INTERFACE, packet.ipi_ifindex);
  } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
    struct in6_pktinfo packet;
    memcpy(&packet, CMSG_DATA(control), sizeof packet);
    store_address6(fields, at + LOCAL, &packet.ipi6_addr);
    store_word(fields, at + INTERFACE, (int32_t)packet.ipi6_ifindex);
  } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_HOPLIMIT) {
    int hop_limit;
    memcpy(&hop_limit, CMSG_DATA(control), sizeof hop_limit);
    store_word(fields, at + HOP_LIMIT, hop_limit);
  }
}

static void store_fields(const struct word_view *fields, size_t at, int64_t offset, const struct mmsghdr *message) {
  const union socket_address *from = message->msg_hdr.msg_name;
  bool is_v4 = from->any.sa_family == AF_INET;
  store_word(fields, at + OFFSET, (int32_t)offset);
  store_word(fields, at + LENGTH, (int32_t)message->msg_len);
  store_word(fields, at + FAMILY, is_v4 ? 4 : 6);
  store_word(fields, at + PORT, ntohs(is_v4 ? from->v4.sin_port : from->v6.sin6_port));
  store_word(fields, at + SCOPE, is_v4 ? 0 : (int32_t)from->v6.sin6_scope_id);
  for (size_t i = LOCAL; i < UDP_FIELDS; i++) store_word(fields, at + i, 0);
  if (is_v4) {
    store_address4(fields, at + ADDRESS, from->v4.sin_addr);
  } else {
    store_address6(fields, at + ADDRESS, &from->v6.sin6_addr);
  }
  struct msghdr header = message->msg_hdr;
  for (struct cmsghdr *control = CMSG_FIRSTHDR(&header); control != NULL; control = CMSG_NXTHDR(&header, control)) {
    store_control(fields, at, control);
  }
}

napi_value receive_batch(napi_env env, napi_callback_info info) {
  napi_value values[6];
  int fd;
  struct byte_view ring;
  struct word_view fields, mishaps;
  int64_t slot_bytes, most;
  if (!arguments(env, info, 6, values) || !descriptor_argument(env, values[0], &fd) ||
      !bytes_argument(env, values[1], "ring", &ring) ||
      !integer_argument(env, values[2], "slotBytes", 1, UINT16_MAX + 1, &slot_bytes) ||
      !words_argument(env, values[3], "fields", &fields) ||
      !integer_argument(env, values[4], "maxDatagrams", 0, BATCH, &most) ||
      !mishaps_argument(env, values[5], "mishaps", &mishaps)) {
    return NULL;
  }
  if ((uint64_t)(most * slot_bytes) > ring.length || (uint64_t)most * UDP_FIELDS > fields.length) {
    throw_range_error(env, "%lld datagrams need %lld bytes of ring and %lld of fields, not %zu and %zu", (long long)most,
                      (long long)(most * slot_bytes), (long long)most * UDP_FIELDS, ring.length, fields.length);
    return NULL;
  }
  union socket_address from[BATCH];
  union control control[BATCH];
  struct iovec pieces[BATCH];
  struct mmsghdr messages[BATCH];
  for (int64_t i = 0; i < most; i++) {
    pieces[i] = (struct iovec){.iov_base = ring.data + i * slot_bytes, .iov_len = (size_t)slot_bytes};
    messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                          .msg_namelen = sizeof from[i],
                                          .msg_iov = &pieces[i],
                                          .msg_iovlen = 1,
                                          .msg_control = &control[i],
                                          .msg_controllen = sizeof control[i]};
  }
  int got = 0;
  /* A pending error of the socket is told once, and datagrams may wait behind it. */
  for (int tries = 0; most > 0 && tries < 4; tries++) {
    /* With MSG_TRUNC the length is the datagram's own, though the slot was too short for it. */
    got = recvmmsg(fd, messages, (unsigned)most, MSG_DONTWAIT | MSG_TRUNC, NULL);
    if (got >= 0) break;
    int error = errno;
    got = 0;
    if (error == EAGAIN) break;
    if (is_misuse(error)) {
      throw_socket_error(env, error, "recvmmsg", fd);
      return NULL;
    }
    if (error == EINTR) continue;
    store_word(&mishaps, 0, load_word(&mishaps, 0) + 1);
    store_word(&mishaps, 1, error);
  }
  for (int i = 0; i < got; i++) store_fields(&fields, (size_t)i * UDP_FIELDS, i * slot_bytes, &messages[i]);
  return integer_value(env, got);
}

struct outgoing {
  union socket_address to[BATCH];
  union control control[BATCH];
  struct iovec pieces[BATCH];
  struct mmsghdr messages[BATCH];
};

/* The source's address, where one is given: what a socket bound to all addresses would otherwise choose by itself. */
static size_t make_control(bool is_v4, const int32_t local[4], int32_t interface, union control *control) {
  if (local[0] == 0 && local[1] == 0 && (is_v4 || local[2] == 0) && local[3] == 0 && interface == 0) return 0;
  struct cmsghdr *header = &control->alignment;
  if (is_v4) {
    struct in_pktinfo packet = {.ipi_ifindex = interface, .ipi_spec_dst.s_addr = htonl((uint32_t)local[3])};
    *header = (struct cmsghdr){.cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof packet)};
    memcpy(CMSG_DATA(header), &packet, sizeof packet);
    return CMSG_SPACE(sizeof packet);
  }
  struct in6_pktinfo packet = {.ipi6_ifindex = (unsigned)interface};
  load_address6(local, &packet.ipi6_addr);
  *header = (struct cmsghdr){.cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO, .cmsg_len = CMSG_LEN(sizeof packet)};
  memcpy(CMSG_DATA(header), &packet, sizeof packet);
  return CMSG_SPACE(sizeof packet);
}

/* Makes message `i` of the batch from a datagram's fields. False with a RangeError pending. */
static bool make_message(napi_env env, const struct byte_view *bytes, const struct word_view *list, int64_t datagram,
                         struct outgoing *out, size_t i) {
  int32_t fields[UDP_FIELDS];
  for (size_t word = 0; word < UDP_FIELDS; word++) fields[word] = load_word(list, (size_t)datagram * UDP_FIELDS + word);
  int32_t offset = fields[OFFSET], length = fields[LENGTH], family = fields[FAMILY];
  if (offset < 0 || length < 0 || (uint64_t)offset + (uint64_t)length > bytes->length) {
    throw_range_error(env, "list: datagram %lld (offset %d, length %d) is outside of bytes (length %zu)",
                      (long long)datagram, offset, length, bytes->length);
    return false;
  }
  if (family != 0 && family != 4 && family != 6) {
    throw_range_error(env, "list: datagram %lld has family %d; 4, 6 or (where connected) 0 are possible",
                      (long long)datagram, family);
    return false;
  }
  if (fields[PORT] < 0 || fields[PORT] > UINT16_MAX) {
    throw_range_error(env, "list: datagram %lld has port %d", (long long)datagram, fields[PORT]);
    return false;
  }
  out->pieces[i] = (struct iovec){.iov_base = bytes->data + offset, .iov_len = (size_t)length};
  struct msghdr header = {.msg_iov = &out->pieces[i], .msg_iovlen = 1};
  if (family != 0) {
    bool is_v4 = family == 4;
    header.msg_name = &out->to[i];
    header.msg_namelen =
        make_socket_address(is_v4, fields + ADDRESS, (uint16_t)fields[PORT], (uint32_t)fields[SCOPE], &out->to[i]);
    header.msg_controllen = make_control(is_v4, fields + LOCAL, fields[INTERFACE], &out->control[i]);
    if (header.msg_controllen > 0) header.msg_control = &out->control[i];
  }
  out->messages[i].msg_hdr = header;
  return true;
}

struct refusals {
  int32_t count;
  int32_t last;
};

/*
 * Sends messages. Returns 0, or the error of a descriptor that is no socket. What is refused is tried once more: the error of a
 * connected socket may be one that ICMP reported of an earlier datagram (ip(7)).
 */
static int send_messages(int fd, struct mmsghdr *messages, size_t count, struct refusals *refused) {
  size_t again = count;
  for (size_t at = 0; at < count;) {
    int put = sendmmsg(fd, messages + at, (unsigned)(count - at), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put > 0) {
      at += (size_t)put;
      continue;
    }
    int error = errno;
    if (error == EINTR) continue;
    if (error == EBADF || error == ENOTSOCK || error == EFAULT) return error;
    if (error != EAGAIN && again != at) {
      again = at;
      continue;
    }
    /* A full buffer has no room for the others either. */
    size_t lost = error == EAGAIN ? count - at : 1;
    refused->count += (int32_t)lost;
    refused->last = error;
    at += lost;
  }
  return 0;
}

napi_value send_batch(napi_env env, napi_callback_info info) {
  napi_value values[5];
  int fd;
  struct byte_view bytes;
  struct word_view list, mishaps;
  int64_t count;
  if (!arguments(env, info, 5, values) || !descriptor_argument(env, values[0], &fd) ||
      !bytes_argument(env, values[1], "bytes", &bytes) || !words_argument(env, values[2], "list", &list) ||
      !integer_argument(env, values[3], "count", 0, (int64_t)(list.length / UDP_FIELDS), &count) ||
      !mishaps_argument(env, values[4], "refused", &mishaps)) {
    return NULL;
  }
  struct outgoing out;
  struct refusals refused = {0};
  bool is_good = true;
  for (int64_t done = 0; is_good && done < count;) {
    size_t ready = 0;
    while (is_good && ready < BATCH && done < count) {
      is_good = make_message(env, &bytes, &list, done, &out, ready);
      if (is_good) {
        ready++;
        done++;
      }
    }
    int error = send_messages(fd, out.messages, ready, &refused);
    if (error != 0) {
      if (is_good) throw_socket_error(env, error, "sendmmsg", fd);
      return NULL;
    }
  }
  if (!is_good) return NULL;
  store_word(&mishaps, 0, refused.count);
  store_word(&mishaps, 1, refused.last);
  return integer_value(env, count - refused.count);
}
