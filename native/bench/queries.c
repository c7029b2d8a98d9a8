/*
 * DNS queries for AAAA from several sockets, many to a system call, so that one core asks more than another one answers. The names
 * are `h` and a number below --hosts, in a domain that no run before has used. Answers are told by their ids, which are the
 * numbers of a socket's queries. What happens in the first half second does not count.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "loadgen.h"

enum { BATCH = 64, QUERY_BYTES = 128, ANSWER_BYTES = 1472, HEADER = 12, RING = 1024, LABEL_DIGITS = 9 };
static const uint64_t LOST_NS = 1000000000;
static const uint64_t WARM_UP_NS = 500000000;
static const size_t MOST_TIMES = 8 << 20;

struct client {
  int fd;
  uint32_t next;
  uint32_t outstanding;
  uint64_t last_ns;
  /* When each query was sent; 0 once it is answered. */
  uint64_t sent_ns[RING];
};

struct run {
  const struct options *o;
  struct client *clients;
  int poll;
  uint8_t template[QUERY_BYTES];
  size_t length;
  uint64_t sent, received, failed, lost, foreign;
  /* Sent and received before it counts. */
  uint64_t early_sent, early_received;
  uint64_t *times;
  size_t count;
};

/* The query but for its id and the digits of its first label. */
static void make_template(struct run *run) {
  char domain[20];
  int size = snprintf(domain, sizeof domain, "%llx", (unsigned long long)now_ns());
  static const uint8_t header[HEADER] = {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1};
  static const uint8_t rest[] = "\x07" "example\x03net\x00\x00\x1c\x00\x01"
                                "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00";
  uint8_t *at = run->template;
  memcpy(at, header, HEADER);
  at += HEADER;
  *at++ = 1 + LABEL_DIGITS;
  *at++ = 'h';
  at += LABEL_DIGITS;
  *at++ = (uint8_t)size;
  memcpy(at, domain, (size_t)size);
  at += size;
  /* The literal's own zero at its end is the last byte of the OPT. */
  memcpy(at, rest, sizeof rest);
  run->length = (size_t)(at - run->template) + sizeof rest;
}

static void make_query(const struct run *run, uint8_t *bytes, uint16_t id, uint64_t number) {
  memcpy(bytes, run->template, run->length);
  bytes[0] = (uint8_t)(id >> 8);
  bytes[1] = (uint8_t)id;
  for (int i = LABEL_DIGITS; i > 0; i--, number /= 10) bytes[HEADER + 1 + i] = (uint8_t)('0' + number % 10);
}

static void open_clients(struct run *run) {
  struct sockaddr_storage target;
  socklen_t length = resolve(run->o->target, run->o->port, &target);
  run->poll = epoll_create1(EPOLL_CLOEXEC);
  run->clients = calloc(run->o->flows, sizeof *run->clients);
  run->times = malloc(MOST_TIMES * sizeof *run->times);
  if (run->poll < 0 || run->clients == NULL || run->times == NULL) fail("memory");
  for (uint32_t i = 0; i < run->o->flows; i++) {
    int fd = socket(target.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket");
    if (connect(fd, (struct sockaddr *)&target, length) != 0) fail("connect");
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    if (epoll_ctl(run->poll, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
    run->clients[i].fd = fd;
  }
}

static void send_queries(struct run *run, struct client *client, uint64_t count) {
  static uint8_t bytes[BATCH][QUERY_BYTES];
  struct iovec pieces[BATCH];
  struct mmsghdr messages[BATCH] = {0};
  if (count > BATCH) count = BATCH;
  if (count == 0) return;
  uint64_t now = now_ns();
  for (uint64_t i = 0; i < count; i++) {
    uint32_t number = client->next + (uint32_t)i;
    make_query(run, bytes[i], (uint16_t)number, (run->sent + i) % run->o->hosts);
    pieces[i] = (struct iovec){.iov_base = bytes[i], .iov_len = run->length};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
  }
  int put = sendmmsg(client->fd, messages, (unsigned)count, 0);
  for (int i = 0; i < put; i++) client->sent_ns[client->next++ % RING] = now;
  if (put > 0) {
    client->outstanding += (uint32_t)put;
    client->last_ns = now;
    run->sent += (uint64_t)put;
  }
}

static void take(struct run *run, struct client *client, const uint8_t *bytes, size_t length, uint64_t now) {
  uint64_t *sent = &client->sent_ns[(((size_t)bytes[0] << 8) | bytes[1]) % RING];
  if (length < HEADER || *sent == 0) {
    run->foreign++;
    return;
  }
  if (run->count < MOST_TIMES) run->times[run->count++] = now - *sent;
  *sent = 0;
  client->outstanding--;
  run->received++;
  if ((bytes[3] & 15) != 0 || bytes[7] == 0) run->failed++;
}

static void receive(struct run *run, int timeout_ms) {
  static uint8_t bytes[BATCH][ANSWER_BYTES];
  struct epoll_event events[BATCH];
  int ready = epoll_wait(run->poll, events, BATCH, timeout_ms);
  for (int e = 0; e < ready; e++) {
    struct client *client = &run->clients[events[e].data.u32];
    struct iovec pieces[BATCH];
    struct mmsghdr messages[BATCH] = {0};
    for (size_t i = 0; i < BATCH; i++) {
      pieces[i] = (struct iovec){.iov_base = bytes[i], .iov_len = ANSWER_BYTES};
      messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    int got = recvmmsg(client->fd, messages, BATCH, 0, NULL);
    uint64_t now = now_ns();
    for (int i = 0; i < got; i++) take(run, client, bytes[i], messages[i].msg_len, now);
  }
}

/* Queries that have waited too long are not waited for any more. */
static void give_up(struct run *run, struct client *client, uint64_t now) {
  if (client->outstanding == 0 || now < client->last_ns + LOST_NS) return;
  run->lost += client->outstanding;
  client->outstanding = 0;
  memset(client->sent_ns, 0, sizeof client->sent_ns);
}

void run_queries(const struct options *o) {
  static struct run run;
  run.o = o;
  uint32_t window = o->burst / o->flows;
  if (window == 0 || window >= RING / 2) fail("--burst is how many queries wait at a time: --flows to 500 times as many");
  make_template(&run);
  open_clients(&run);
  uint64_t begin = now_ns(), now = begin;
  uint64_t start = begin + WARM_UP_NS;
  uint64_t end = start + (uint64_t)(o->seconds * 1e9);
  bool is_warm = false;
  while (now < end && !is_ending) {
    if (!is_warm && now >= start) {
      is_warm = true;
      start = now;
      run.early_sent = run.sent;
      run.early_received = run.received;
      run.count = 0;
      run.failed = run.lost = run.foreign = 0;
    }
    uint64_t allowed = UINT64_MAX;
    if (o->rate > 0) {
      uint64_t planned = (uint64_t)((double)(now - begin) / 1e9 * o->rate) + 1;
      allowed = planned > run.sent ? planned - run.sent : 0;
    }
    /* Turns, so that at a low rate all sockets have some. */
    for (uint32_t i = 0; i < o->flows && allowed > 0; i++) {
      struct client *client = &run.clients[(run.sent + i) % o->flows];
      uint64_t room = client->outstanding < window ? window - client->outstanding : 0;
      uint64_t share = o->rate > 0 ? 1 + allowed / o->flows : room;
      uint64_t before = run.sent;
      if (share > allowed) share = allowed;
      send_queries(&run, client, room < share ? room : share);
      allowed -= run.sent - before;
      give_up(&run, client, now);
    }
    receive(&run, o->rate > 0 ? 0 : 1);
    if (o->rate > 0 && allowed == 0) nanosleep(&(struct timespec){.tv_nsec = 5000}, NULL);
    now = now_ns();
  }
  double seconds = (double)(now - start) / 1e9;
  uint64_t sent = run.sent - run.early_sent, received = run.received - run.early_received;
  printf("{\"seconds\":%.3f,\"sent\":%llu,\"received\":%llu,\"failed\":%llu,\"lost\":%llu,\"foreign\":%llu,", seconds,
         (unsigned long long)sent, (unsigned long long)received, (unsigned long long)run.failed,
         (unsigned long long)run.lost, (unsigned long long)run.foreign);
  printf("\"all\":%llu,\"perSec\":%.1f,", (unsigned long long)run.received, (double)received / seconds);
  print_times("latencyUs", run.times, run.count);
  puts("}");
}
