/* A load generator for benchmarks: a program, not part of the addon. `loadgen --help` lists what it does. */
#ifndef LOADGEN_H
#define LOADGEN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { MAX_PAYLOAD_BYTES = 65000, MAX_QUEUES = 64 };

/* Options of all tasks; each uses its own. */
struct options {
  const char *interface;
  uint8_t gateway_mac[6];
  bool has_mac;
  struct in6_addr source;
  const char *target;
  uint16_t port;
  /* Of the payload, in bytes. */
  size_t size;
  uint32_t flows;
  /* Sources, consecutive addresses from `source` on. */
  uint32_t hosts;
  /* Frames of one flow in a row. */
  uint32_t burst;
  /* Datagrams per second; 0: as fast as it goes. */
  double rate;
  double seconds;
  /* Of a TUN device. */
  uint32_t queues;
};

/* Prints what was wrong to standard error and ends the program with exit code 1. */
_Noreturn void fail(const char *what);

/* Nanoseconds since some moment in the past. */
uint64_t now_ns(void);

/* The address of a numeric host and a port. */
socklen_t resolve(const char *host, uint16_t port, struct sockaddr_storage *address);

/* Prints percentiles of times in nanoseconds, sorting them, as a member of a JSON object: in microseconds. */
void print_times(const char *name, uint64_t *times, size_t count);

/* Set by SIGINT and SIGTERM: tasks come to their end. */
extern volatile bool is_ending;

void run_raw(const struct options *options);
void run_pings(const struct options *options);
void run_errors(const struct options *options);
void run_fragments(const struct options *options);
void run_gso(const struct options *options);
void run_load(const struct options *options);
void run_queries(const struct options *options);
void run_hosts(const struct options *options);
void run_echo(const struct options *options);
void run_authority(const struct options *options);
void run_copy(const struct options *options);

#endif
