#include "loadgen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

volatile bool is_ending = false;

static const char HELP[] =
    "usage: loadgen raw  --interface NAME [--mac GATEWAY] --source IPV6 --target IPV6 [--flows N] [--hosts N]\n"
    "                    [--burst N] [--size BYTES] [--rate N] [--seconds N]\n"
    "       loadgen pings|errors|fragments  --interface NAME --source IPV6 --target IPV6 [--hosts N] [--rate N] [--seconds N]\n"
    "       loadgen gso  --target ADDRESS [--port N] [--size BYTES] [--seconds N]\n"
    "       loadgen load --target ADDRESS [--port N] [--flows N] [--size BYTES] [--rate N] [--seconds N]\n"
    "       loadgen hosts --target IPV6 [--port N] --source IPV6 [--hosts N] [--size BYTES] [--rate N]\n"
    "       loadgen queries --target ADDRESS [--port N] [--flows N] [--burst N] [--hosts N] [--rate N] [--seconds N]\n"
    "       loadgen echo [--port N]\n"
    "       loadgen authority [--port N]\n"
    "       loadgen copy --interface NAME [--queues N]\n"
    "\n"
    "raw   UDP in IPv6 frames put on an interface as they are (AF_PACKET), each with its checksum; --mac is for those with\n"
    "      Ethernet headers\n"
    "pings, errors, fragments  what nobody honest sends, put right into a TUN device: pings, ICMP errors about packets that\n"
    "      never were, first fragments without a second\n"
    "gso   one UDP socket that hands the kernel 64 KiB at a time to cut (UDP_SEGMENT)\n"
    "load  UDP sockets that expect each datagram back; loss, rate and latency\n"
    "hosts new sources, one after another, that each expect a datagram back, and then another\n"
    "queries  DNS queries for --hosts names, --burst of them on their way at a time\n"
    "echo  what answers datagrams, until it is ended\n"
    "authority  a name server by which every name has the address 192.0.2.1, until it is ended\n"
    "copy  a TUN device that gives back each frame as it is, with a thread for each of --queues, until it is ended\n"
    "\n"
    "--size is that of the UDP payload. --burst is how many frames of one flow come in a row. --rate is per second.\n";

_Noreturn void fail(const char *what) {
  fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
  exit(1);
}

static _Noreturn void refuse(const char *what, const char *value) {
  fprintf(stderr, "loadgen: %s: '%s'\n%s", what, value, HELP);
  exit(2);
}

uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

socklen_t resolve(const char *host, uint16_t port, struct sockaddr_storage *address) {
  struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_DGRAM};
  struct addrinfo *found;
  char service[8];
  snprintf(service, sizeof service, "%u", port);
  if (host == NULL || getaddrinfo(host, service, &hints, &found) != 0) refuse("--target needs an IP address", host ? host : "");
  socklen_t length = found->ai_addrlen;
  memcpy(address, found->ai_addr, length);
  freeaddrinfo(found);
  return length;
}

static void on_signal(int signal) {
  (void)signal;
  is_ending = true;
}

static double number(const char *name, const char *text, double least, double most) {
  char *end;
  double value = strtod(text, &end);
  char what[64];
  snprintf(what, sizeof what, "--%s must be a number from %g to %g", name, least, most);
  if (end == text || *end != '\0' || !(value >= least && value <= most)) refuse(what, text);
  return value;
}

static void read_mac(const char *text, uint8_t mac[6]) {
  if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6) {
    refuse("--mac must be a MAC address", text);
  }
}

static const struct option LONG_OPTIONS[] = {
    {"interface", required_argument, NULL, 'i'}, {"mac", required_argument, NULL, 'm'},
    {"source", required_argument, NULL, 'S'},    {"target", required_argument, NULL, 't'},
    {"port", required_argument, NULL, 'p'},      {"size", required_argument, NULL, 's'},
    {"flows", required_argument, NULL, 'f'},     {"hosts", required_argument, NULL, 'H'},
    {"burst", required_argument, NULL, 'b'},     {"rate", required_argument, NULL, 'r'},
    {"seconds", required_argument, NULL, 'd'},   {"queues", required_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},            {NULL, 0, NULL, 0},
};

static void read_options(int argc, char **argv, struct options *o) {
  int option;
  while ((option = getopt_long(argc, argv, "h", LONG_OPTIONS, NULL)) != -1) {
    switch (option) {
      case 'i': o->interface = optarg; break;
      case 'm': read_mac(optarg, o->gateway_mac); o->has_mac = true; break;
      case 'S':
        if (inet_pton(AF_INET6, optarg, &o->source) != 1) refuse("--source must be an IPv6 address", optarg);
        break;
      case 't': o->target = optarg; break;
      case 'p': o->port = (uint16_t)number("port", optarg, 1, 65535); break;
      case 's': o->size = (size_t)number("size", optarg, 16, MAX_PAYLOAD_BYTES); break;
      case 'f': o->flows = (uint32_t)number("flows", optarg, 1, 1e6); break;
      case 'H': o->hosts = (uint32_t)number("hosts", optarg, 1, 1e9); break;
      case 'b': o->burst = (uint32_t)number("burst", optarg, 1, 1e6); break;
      case 'r': o->rate = number("rate", optarg, 0, 1e8); break;
      case 'd': o->seconds = number("seconds", optarg, 0.01, 1e6); break;
      case 'q': o->queues = (uint32_t)number("queues", optarg, 1, MAX_QUEUES); break;
      case 'h': fputs(HELP, stdout); exit(0);
      default: exit(2);
    }
  }
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    void (*run)(const struct options *options);
  } tasks[] = {{"raw", run_raw}, {"pings", run_pings}, {"errors", run_errors},
               {"fragments", run_fragments}, {"gso", run_gso}, {"load", run_load}, {"hosts", run_hosts}, {"queries", run_queries},
               {"echo", run_echo}, {"authority", run_authority}, {"copy", run_copy}};

  struct options options = {
      .port = 6400, .size = 64, .flows = 1, .hosts = 1, .burst = 1, .queues = 1, .seconds = 10,
  };
  read_options(argc, argv, &options);
  if (optind != argc - 1) refuse("one task is needed", optind < argc ? argv[optind + 1] : "");
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
  for (size_t i = 0; i < sizeof tasks / sizeof tasks[0]; i++) {
    if (strcmp(argv[optind], tasks[i].name) == 0) {
      tasks[i].run(&options);
      return 0;
    }
  }
  refuse("no such task", argv[optind]);
}
