/*
 * UDP sockets, many datagrams to a call. An address is four words in host order, IPv4 as ::ffff:a.b.c.d, and a datagram's
 * fields are the same on both ways: so that an answer goes back with the fields that its question came with.
 *
 * The arrays may be on a SharedArrayBuffer and change while we look at them; so each word of a list is loaded once,
 * checked, and used from the copy.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addon.h"
#include "args.h"
#include "error.h"

/* Datagrams that one system call moves. */
enum { BATCH = 64 };

/* Words of a datagram's fields, UDP_FIELDS in all; the last one is for what may come. */
enum { OFFSET, LENGTH, FAMILY, PORT, SCOPE, ADDRESS, LOCAL = ADDRESS + 4, INTERFACE = LOCAL + 4, HOP_LIMIT };

static const int32_t MAPPED = 0xffff;

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

union control {
  struct cmsghdr alignment;
  uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
};

static int32_t load(const struct word_view *words, size_t index) {
  return __atomic_load_n(&words->data[index], __ATOMIC_RELAXED);
}

static void store(const struct word_view *words, size_t index, int32_t value) {
  __atomic_store_n(&words->data[index], value, __ATOMIC_RELAXED);
}

static napi_value count_value(napi_env env, int64_t count) {
  napi_value result;
  return succeeded(env, napi_create_int64(env, count, &result)) ? result : NULL;
}

static void load_address6(const int32_t words[4], struct in6_addr *address) {
  for (int i = 0; i < 4; i++) address->s6_addr32[i] = htonl((uint32_t)words[i]);
}

static void store_address6(const struct word_view *words, size_t at, const struct in6_addr *address) {
  for (size_t i = 0; i < 4; i++) store(words, at + i, (int32_t)ntohl(address->s6_addr32[i]));
}

static void store_address4(const struct word_view *words, size_t at, struct in_addr address) {
  store(words, at, 0);
  store(words, at + 1, 0);
  store(words, at + 2, MAPPED);
  store(words, at + 3, (int32_t)ntohl(address.s_addr));
}

static socklen_t make_address(bool is_v4, const int32_t words[4], uint16_t port, uint32_t scope, union address *address) {
  if (is_v4) {
    address->v4 = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl((uint32_t)words[3])};
    return sizeof address->v4;
  }
  address->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = scope};
  load_address6(words, &address->v6.sin6_addr);
  return sizeof address->v6;
}

/* What says that the descriptor is no socket of ours, and not that one datagram had a mishap. */
static bool is_misuse(int error) { return error == EBADF || error == ENOTSOCK || error == EFAULT || error == ENOTCONN; }

static void throw_socket_error(napi_env env, int error, const char *syscall, int fd) {
  switch (error) {
    case EBADF:
      throw_system_error(env, error, syscall, "descriptor %d is closed; open a socket first", fd);
      break;
    case ENOTSOCK:
      throw_system_error(env, error, syscall, "descriptor %d is not a socket", fd);
      break;
    default:
      throw_system_error(env, error, syscall, NULL);
  }
}

struct endpoint {
  int32_t words[4];
  int64_t port;
  int64_t scope;
  bool is_v4;
};

static bool read_endpoint(napi_env env, const napi_value values[3], const char *const names[3], struct endpoint *to) {
  struct word_view words;
  if (!words_argument(env, values[0], names[0], &words) ||
      !integer_argument(env, values[1], names[1], 0, UINT16_MAX, &to->port) ||
      !integer_argument(env, values[2], names[2], 0, INT_MAX, &to->scope)) {
    return false;
  }
  if (words.length != 4) {
    throw_range_error(env, "%s must hold 4 words, not %zu", names[0], words.length);
    return false;
  }
  for (size_t i = 0; i < 4; i++) to->words[i] = load(&words, i);
  to->is_v4 = to->words[0] == 0 && to->words[1] == 0 && to->words[2] == MAPPED;
  return true;
}

struct udp_options {
  struct endpoint local;
  bool packet_info;
  int64_t receive_bytes;
  int64_t send_bytes;
};

static bool read_udp_options(napi_env env, napi_value object, struct udp_options *options) {
  static const char *const keys[] = {"address", "port", "scope", "packetInfo", "receiveBytes", "sendBytes"};
  static const char *const names[] = {"options.address", "options.port", "options.scope"};
  napi_valuetype type;
  if (!succeeded(env, napi_typeof(env, object, &type))) return false;
  if (type != napi_object) {
    throw_type_error(env, "options must be an object");
    return false;
  }
  napi_value values[6];
  for (size_t i = 0; i < 6; i++) {
    if (!succeeded(env, napi_get_named_property(env, object, keys[i], &values[i]))) return false;
  }
  /* The address last: a getter of another key could have taken its memory away. */
  return boolean_argument(env, values[3], "options.packetInfo", &options->packet_info) &&
         integer_argument(env, values[4], "options.receiveBytes", 0, INT_MAX / 2, &options->receive_bytes) &&
         integer_argument(env, values[5], "options.sendBytes", 0, INT_MAX / 2, &options->send_bytes) &&
         read_endpoint(env, values, names, &options->local);
}

/* The kernel's limit may be lower for those without CAP_NET_ADMIN; then what it gives has to do. */
static void set_buffer(int fd, int force, int ask, int64_t bytes) {
  int size = (int)bytes;
  if (size > 0 && setsockopt(fd, SOL_SOCKET, force, &size, sizeof size) != 0) {
    setsockopt(fd, SOL_SOCKET, ask, &size, sizeof size);
  }
}

/* Returns the name of the call that failed, or NULL. */
static const char *prepare_socket(int fd, const struct udp_options *options) {
  int on = 1;
  bool is_v4 = options->local.is_v4;
  /* Who forges an ICMP "packet too big" must not make us send fragments (RFC 9715 section 3.1). */
  int discover = is_v4 ? IP_PMTUDISC_OMIT : IPV6_PMTUDISC_OMIT;
  int level = is_v4 ? IPPROTO_IP : IPPROTO_IPV6;
  if (!is_v4 && setsockopt(fd, level, IPV6_V6ONLY, &on, sizeof on) != 0) return "IPV6_V6ONLY";
  if (setsockopt(fd, level, is_v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &discover, sizeof discover) != 0) {
    return "IP_MTU_DISCOVER";
  }
  if (options->packet_info &&
      setsockopt(fd, level, is_v4 ? IP_PKTINFO : IPV6_RECVPKTINFO, &on, sizeof on) != 0) {
    return "IP_PKTINFO";
  }
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options->receive_bytes);
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options->send_bytes);
  union address address;
  const struct endpoint *local = &options->local;
  socklen_t length = make_address(is_v4, local->words, (uint16_t)local->port, (uint32_t)local->scope, &address);
  return bind(fd, &address.any, length) != 0 ? "bind" : NULL;
}

static napi_value socket_object(napi_env env, int fd, uint16_t port) {
  napi_value socket, fd_value, port_value;
  if (!succeeded(env, napi_create_object(env, &socket)) || !succeeded(env, napi_create_int32(env, fd, &fd_value)) ||
      !succeeded(env, napi_create_uint32(env, port, &port_value)) ||
      !succeeded(env, napi_set_named_property(env, socket, "fd", fd_value)) ||
      !succeeded(env, napi_set_named_property(env, socket, "port", port_value))) {
    return NULL;
  }
  return socket;
}

napi_value open_udp(napi_env env, napi_callback_info info) {
  napi_value argument;
  struct udp_options options;
  if (!arguments(env, info, 1, &argument) || !read_udp_options(env, argument, &options)) return NULL;
  int fd = socket(options.local.is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    throw_system_error(env, errno, "socket", NULL);
    return NULL;
  }
  union address address;
  socklen_t length = sizeof address;
  const char *failed = prepare_socket(fd, &options);
  if (failed == NULL && getsockname(fd, &address.any, &length) != 0) failed = "getsockname";
  if (failed != NULL) {
    int error = errno;
    close(fd);
    throw_system_error(env, error, failed, NULL);
    return NULL;
  }
  napi_value socket = socket_object(env, fd, ntohs(options.local.is_v4 ? address.v4.sin_port : address.v6.sin6_port));
  if (socket == NULL) close(fd);
  return socket;
}

napi_value connect_udp(napi_env env, napi_callback_info info) {
  static const char *const names[] = {"address", "port", "scope"};
  napi_value values[4];
  int fd;
  struct endpoint to;
  if (!arguments(env, info, 4, values) || !descriptor_argument(env, values[0], &fd) ||
      !read_endpoint(env, values + 1, names, &to)) {
    return NULL;
  }
  union address address;
  socklen_t length = make_address(to.is_v4, to.words, (uint16_t)to.port, (uint32_t)to.scope, &address);
  if (connect(fd, &address.any, length) != 0) throw_socket_error(env, errno, "connect", fd);
  return NULL;
}

napi_value close_udp(napi_env env, napi_callback_info info) {
  napi_value value;
  int fd;
  if (!arguments(env, info, 1, &value) || !descriptor_argument(env, value, &fd)) return NULL;
  /* Linux has closed the descriptor even where it says EINTR. */
  if (close(fd) != 0 && errno != EINTR) throw_socket_error(env, errno, "close", fd);
  return NULL;
}

/* Errors of single datagrams: how many, and the last one. */
static bool mishaps_argument(napi_env env, napi_value value, const char *name, struct word_view *mishaps) {
  if (!words_argument(env, value, name, mishaps)) return false;
  if (mishaps->length < 2) {
    throw_range_error(env, "%s must hold 2 words, not %zu", name, mishaps->length);
    return false;
  }
  store(mishaps, 0, 0);
  store(mishaps, 1, 0);
  return true;
}

static void store_control(const struct word_view *fields, size_t at, struct cmsghdr *control) {
  if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
    struct in_pktinfo packet;
    memcpy(&packet, CMSG_DATA(control), sizeof packet);
    store_address4(fields, at + LOCAL, packet.ipi_addr);
    store(fields, at + INTERFACE, packet.ipi_ifindex);
  } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
    struct in6_pktinfo packet;
    memcpy(&packet, CMSG_DATA(control), sizeof packet);
    store_address6(fields, at + LOCAL, &packet.ipi6_addr);
    store(fields, at + INTERFACE, (int32_t)packet.ipi6_ifindex);
  } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_HOPLIMIT) {
    int hop_limit;
    memcpy(&hop_limit, CMSG_DATA(control), sizeof hop_limit);
    store(fields, at + HOP_LIMIT, hop_limit);
  }
}

static void store_fields(const struct word_view *fields, size_t at, int64_t offset, const struct mmsghdr *message) {
  const union address *from = message->msg_hdr.msg_name;
  bool is_v4 = from->any.sa_family == AF_INET;
  store(fields, at + OFFSET, (int32_t)offset);
  store(fields, at + LENGTH, (int32_t)message->msg_len);
  store(fields, at + FAMILY, is_v4 ? 4 : 6);
  store(fields, at + PORT, ntohs(is_v4 ? from->v4.sin_port : from->v6.sin6_port));
  store(fields, at + SCOPE, is_v4 ? 0 : (int32_t)from->v6.sin6_scope_id);
  for (size_t i = LOCAL; i < UDP_FIELDS; i++) store(fields, at + i, 0);
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
  union address from[BATCH];
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
    store(&mishaps, 0, load(&mishaps, 0) + 1);
    store(&mishaps, 1, error);
  }
  for (int i = 0; i < got; i++) store_fields(&fields, (size_t)i * UDP_FIELDS, i * slot_bytes, &messages[i]);
  return count_value(env, got);
}

struct outgoing {
  union address to[BATCH];
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
  for (size_t word = 0; word < UDP_FIELDS; word++) fields[word] = load(list, (size_t)datagram * UDP_FIELDS + word);
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
        make_address(is_v4, fields + ADDRESS, (uint16_t)fields[PORT], (uint32_t)fields[SCOPE], &out->to[i]);
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
  store(&mishaps, 0, refused.count);
  store(&mishaps, 1, refused.last);
  return count_value(env, count - refused.count);
}
