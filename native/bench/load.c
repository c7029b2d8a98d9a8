/*
 * UDP sockets that expect each datagram back. A datagram carries its number, and so whose it is (socket `number` modulo their
 * count), and when it was sent:
 *
 *   0         8        16
 *   number    sent ns  zeros
 *
 * The upper bits of the number are this run's: the kernel gives a port that an earlier run had to another socket, and what was on
 * its way to that one is nobody's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "loadgen.h"

enum {
  EVENTS = 64,
  /* Datagrams sent in a row before answers are looked at. */
  SEND_BATCH = 32,
  /* A histogram of latencies: 32 buckets for each power of two, so that a figure is right within 3 %. */
  BUCKETS_PER_POWER_BITS = 5,
  BUCKETS_PER_POWER = 1 << BUCKETS_PER_POWER_BITS,
  POWERS = 40,
};
enum { RUN_SHIFT = 40 };
static const uint64_t REPORT_NS = 200000000;
static const uint64_t STRAGGLERS_NS = 1000000000;

struct run {
  const struct options *o;
  int *sockets;
  int poll;
  uint64_t name;
  uint64_t sent;
  uint64_t refused;
  uint64_t received;
  uint64_t foreign;
  /* Another flow's. */
  uint64_t misdelivered;
  uint64_t buckets[POWERS * BUCKETS_PER_POWER];
  uint64_t longest;
  uint8_t *seen;
  uint64_t seen_size;
};

static size_t bucket_of(uint64_t ns) {
  if (ns < BUCKETS_PER_POWER) return (size_t)ns;
  unsigned power = 63u - (unsigned)__builtin_clzll(ns);
  unsigned shift = power - BUCKETS_PER_POWER_BITS;
  size_t bucket = (size_t)(shift + 1) * BUCKETS_PER_POWER + (size_t)((ns >> shift) & (BUCKETS_PER_POWER - 1));
  return bucket < POWERS * BUCKETS_PER_POWER ? bucket : POWERS * BUCKETS_PER_POWER - 1;
}

/* The middle of a bucket, in nanoseconds. */
static double bucket_ns(size_t bucket) {
  if (bucket < BUCKETS_PER_POWER) return (double)bucket;
  size_t shift = bucket / BUCKETS_PER_POWER - 1;
  size_t low = BUCKETS_PER_POWER + bucket % BUCKETS_PER_POWER;
  return ((double)low + 0.5) * (double)(1ull << shift);
}

static double percentile_us(const struct run *run, double fraction) {
  uint64_t wanted = (uint64_t)((double)run->received * fraction);
  uint64_t count = 0;
  for (size_t i = 0; i < POWERS * BUCKETS_PER_POWER; i++) {
    count += run->buckets[i];
    if (count > wanted) return bucket_ns(i) / 1e3;
  }
  return (double)run->longest / 1e3;
}

static void open_sockets(struct run *run) {
  struct sockaddr_storage target;
  socklen_t length = resolve(run->o->target, run->o->port, &target);
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  run->poll = epoll_create1(EPOLL_CLOEXEC);
  run->sockets = calloc(run->o->flows, sizeof *run->sockets);
  if (run->poll < 0 || run->sockets == NULL) fail("epoll");
  for (uint32_t i = 0; i < run->o->flows; i++) {
    int fd = socket(target.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket (each flow takes one; see ulimit -n)");
    if (connect(fd, (struct sockaddr *)&target, length) != 0) fail("connect");
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    if (epoll_ctl(run->poll, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
    run->sockets[i] = fd;
  }
}

/* True the first time. Grows with the numbers: a bit each. */
static bool is_first(struct run *run, uint64_t number) {
  if (number >= run->sent) return false;
  uint8_t bit = (uint8_t)(1u << number % 8);
  uint8_t *byte = &run->seen[number / 8];
  bool first = (*byte & bit) == 0;
  *byte |= bit;
  return first;
}

static void reserve(struct run *run) {
  if (run->sent / 8 < run->seen_size) return;
  uint64_t size = run->seen_size == 0 ? 1 << 16 : run->seen_size * 2;
  run->seen = realloc(run->seen, size);
  if (run->seen == NULL) fail("memory");
  memset(run->seen + run->seen_size, 0, size - run->seen_size);
  run->seen_size = size;
}

static void receive(struct run *run, int timeout_ms) {
  struct epoll_event events[EVENTS];
  int ready = epoll_wait(run->poll, events, EVENTS, timeout_ms);
  for (int i = 0; i < ready; i++) {
    for (;;) {
      uint8_t bytes[MAX_PAYLOAD_BYTES];
      ssize_t got = recv(run->sockets[events[i].data.u32], bytes, sizeof bytes, 0);
      if (got < 0) break;
      uint64_t words[2];
      if ((size_t)got != run->o->size) {
        run->foreign++;
        continue;
      }
      memcpy(words, bytes, sizeof words);
      if (words[0] >> RUN_SHIFT != run->name) continue;
      words[0] -= run->name << RUN_SHIFT;
      if (words[0] % run->o->flows != events[i].data.u32) {
        run->misdelivered++;
        continue;
      }
      if (!is_first(run, words[0])) {
        run->foreign++;
        continue;
      }
      uint64_t ns = now_ns() - words[1];
      run->received++;
      run->buckets[bucket_of(ns)]++;
      if (ns > run->longest) run->longest = ns;
    }
  }
}

static void send_next(struct run *run, uint8_t *bytes) {
  reserve(run);
  uint64_t words[2] = {run->name << RUN_SHIFT | run->sent, now_ns()};
  memcpy(bytes, words, sizeof words);
  /* What does not even leave this machine is lost too, but is told apart. */
  if (send(run->sockets[run->sent % run->o->flows], bytes, run->o->size, 0) < 0) run->refused++;
  run->sent++;
}

static void report(const struct run *run, uint64_t start, uint64_t now, bool is_last) {
  printf("{\"seconds\":%.3f,\"sent\":%llu,\"received\":%llu,\"refused\":%llu,\"foreign\":%llu,\"misdelivered\":%llu",
         (double)(now - start) / 1e9,
         (unsigned long long)run->sent, (unsigned long long)run->received, (unsigned long long)run->refused,
         (unsigned long long)run->foreign, (unsigned long long)run->misdelivered);
  if (is_last && run->received > 0) {
    printf(",\"latencyUs\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f,\"max\":%.1f}", percentile_us(run, 0.5),
           percentile_us(run, 0.9), percentile_us(run, 0.99), percentile_us(run, 0.999), (double)run->longest / 1e3);
  }
  puts("}");
  fflush(stdout);
}

void run_load(const struct options *o) {
  static struct run run;
  static uint8_t bytes[MAX_PAYLOAD_BYTES];
  run.o = o;
  run.name = now_ns() / 1000000 & 0xffffff;
  open_sockets(&run);

  uint64_t start = now_ns();
  uint64_t end = start + (uint64_t)(o->seconds * 1e9);
  uint64_t next_report = start + REPORT_NS;
  uint64_t now = start;
  while (now < end && !is_ending) {
    uint64_t due = SEND_BATCH;
    if (o->rate > 0) {
      uint64_t planned = (uint64_t)((double)(now - start) / 1e9 * o->rate) + 1;
      due = planned > run.sent ? planned - run.sent : 0;
      if (due > SEND_BATCH) due = SEND_BATCH;
    }
    for (uint64_t i = 0; i < due; i++) send_next(&run, bytes);
    receive(&run, 0);
    if (due == 0) nanosleep(&(struct timespec){.tv_nsec = 10000}, NULL);
    now = now_ns();
    if (now >= next_report) {
      report(&run, start, now, false);
      next_report += REPORT_NS;
    }
  }
  uint64_t stopped = now;
  while (run.received + run.refused < run.sent && now < stopped + STRAGGLERS_NS && !is_ending) {
    receive(&run, 10);
    now = now_ns();
  }
  report(&run, start, stopped, true);
}
