/*
 * Which queue of a device a frame goes to: a small eBPF program that the kernel runs for each frame (TUNSETSTEERINGEBPF).
 * Without one the kernel remembers the queue that each flow was last written to, for 4096 flows, and takes a lock for the others.
 *
 * The program looks at what both directions of a translated flow have in common: some leading bits of the IPv4 address that
 * stands in the IPv6 destination and is the IPv4 source, and, for whole TCP and UDP packets, both ports in either order.
 *
 *   hash = remote ^ (source port ^ destination port) * A        queue = first + (hash * B >> 16) % count
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "addon.h"
#include "args.h"
#include "error.h"
#include "result.h"

enum { R0, R1, R6 = 6, REMOTE, PORTS, FIRST_BYTE };
enum { IPV6_DESTINATION_AT = 24, IPV6_NEXT_HEADER_AT = 6, IPV6_PAYLOAD_AT = 40, PORTS_BYTES = 4 };
enum { IPV4_SOURCE_AT = 12, IPV4_FRAGMENT_AT = 6, IPV4_PROTOCOL_AT = 9, IPV4_PAYLOAD_AT = 20, IPV4_MF_AND_OFFSET = 0x3fff };

enum { LOAD_TRIES = 100 };

/* Jumps name the instruction they go to, counted from the start. */
enum { AT_IPV6 = 23, AT_PORTS6 = 32, AT_PORTS = 35, AT_MIX = 41 };

#define LOAD(size, at) ((struct bpf_insn){.code = BPF_LD | BPF_ABS | (size), .imm = (int32_t)(at)})
#define LENGTH \
  ((struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = R0, .src_reg = R6, .off = offsetof(struct __sk_buff, len)})
#define MOVE(to, from) ((struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (to), .src_reg = (from)})
#define WITH_NUMBER(op, reg, number) \
  ((struct bpf_insn){.code = BPF_ALU | (op) | BPF_K, .dst_reg = (reg), .imm = (int32_t)(number)})
#define WITH(op, reg, other) ((struct bpf_insn){.code = BPF_ALU | (op) | BPF_X, .dst_reg = (reg), .src_reg = (other)})
#define JUMP_IF(op, number, here, there) \
  ((struct bpf_insn){.code = BPF_JMP | (op) | BPF_K, .dst_reg = R0, .off = (there) - (here) - 1, .imm = (number)})
#define JUMP(here, there) ((struct bpf_insn){.code = BPF_JMP | BPF_JA, .off = (there) - (here) - 1})

/* As many as a device has at most. */
enum { MAX_QUEUES = 256 };

struct steering {
  int64_t remote_at;
  int64_t remote_bits;
  int64_t secret;
  int64_t first;
  int64_t count;
};

/*
 * Returns the program's descriptor, or -1 with errno set. A load outside of the packet would end it with queue 0, which may be one that
 * nobody serves: what is too short for a header goes by what there is.
 */
static int load_program(const struct steering *s) {
  unsigned size = s->remote_bits == 8 ? BPF_B : s->remote_bits == 16 ? BPF_H : BPF_W;
  uint32_t secret = (uint32_t)s->secret;
  /* Three bytes are the last of a word. */
  int64_t at = IPV6_DESTINATION_AT + s->remote_at - (s->remote_bits == 24 ? 1 : 0);
  uint32_t mask = s->remote_bits == 0 ? 0 : s->remote_bits == 24 ? 0xffffff : 0xffffffff;
  struct bpf_insn program[] = {
      /*  0 */ MOVE(R6, R1),
      /*  1 */ WITH_NUMBER(BPF_MOV, REMOTE, 0),
      /*  2 */ LENGTH,
      /*  3 */ JUMP_IF(BPF_JLT, IPV4_PAYLOAD_AT, 3, AT_MIX),
      /*  4 */ LOAD(BPF_B, 0),
      /*  5 */ MOVE(FIRST_BYTE, R0),
      /*  6 */ WITH_NUMBER(BPF_RSH, R0, 4),
      /*  7 */ JUMP_IF(BPF_JEQ, 6, 7, AT_IPV6),
      /*  8 */ LOAD(BPF_W, IPV4_SOURCE_AT),
      /*  9 */ MOVE(REMOTE, R0),
      /* 10 */ WITH_NUMBER(BPF_RSH, REMOTE, s->remote_bits == 0 ? 0 : 32 - s->remote_bits),
      /* 11 */ WITH_NUMBER(BPF_AND, REMOTE, mask),
      /* 12 */ MOVE(R0, FIRST_BYTE),
      /* 13 */ JUMP_IF(BPF_JNE, 0x45, 13, AT_MIX),
      /* 14 */ LOAD(BPF_H, IPV4_FRAGMENT_AT),
      /* 15 */ JUMP_IF(BPF_JSET, IPV4_MF_AND_OFFSET, 15, AT_MIX),
      /* 16 */ LOAD(BPF_B, IPV4_PROTOCOL_AT),
      /* 17 */ JUMP_IF(BPF_JEQ, IPPROTO_TCP, 17, 19),
      /* 18 */ JUMP_IF(BPF_JNE, IPPROTO_UDP, 18, AT_MIX),
      /* 19 */ LENGTH,
      /* 20 */ JUMP_IF(BPF_JLT, IPV4_PAYLOAD_AT + PORTS_BYTES, 20, AT_MIX),
      /* 21 */ LOAD(BPF_W, IPV4_PAYLOAD_AT),
      /* 22 */ JUMP(22, AT_PORTS),
      /* 23 */ LENGTH,
      /* 24 */ JUMP_IF(BPF_JLT, IPV6_PAYLOAD_AT, 24, AT_MIX),
      /* 25 */ LOAD(size, at),
      /* 26 */ MOVE(REMOTE, R0),
      /* 27 */ WITH_NUMBER(BPF_AND, REMOTE, mask),
      /* 28 */ LOAD(BPF_B, IPV6_NEXT_HEADER_AT),
      /* 29 */ JUMP_IF(BPF_JEQ, IPPROTO_TCP, 29, AT_PORTS6),
      /* 30 */ JUMP_IF(BPF_JEQ, IPPROTO_UDP, 30, AT_PORTS6),
      /* 31 */ JUMP(31, AT_MIX),
      /* 32 */ LENGTH,
      /* 33 */ JUMP_IF(BPF_JLT, IPV6_PAYLOAD_AT + PORTS_BYTES, 33, AT_MIX),
      /* 34 */ LOAD(BPF_W, IPV6_PAYLOAD_AT),
      /* 35 */ MOVE(PORTS, R0),
      /* 36 */ WITH_NUMBER(BPF_RSH, PORTS, 16),
      /* 37 */ WITH(BPF_XOR, PORTS, R0),
      /* 38 */ WITH_NUMBER(BPF_AND, PORTS, 0xffff),
      /* 39 */ WITH_NUMBER(BPF_MUL, PORTS, (secret >> 7 ^ 0x85ebca6b) | 1),
      /* 40 */ WITH(BPF_XOR, REMOTE, PORTS),
      /* 41 */ WITH_NUMBER(BPF_XOR, REMOTE, secret),
      /* 42 */ WITH_NUMBER(BPF_MUL, REMOTE, secret | 1),
      /* 43 */ WITH_NUMBER(BPF_RSH, REMOTE, 16),
      /* 44 */ WITH_NUMBER(BPF_MOD, REMOTE, s->count),
      /* 45 */ WITH_NUMBER(BPF_ADD, REMOTE, s->first),
      /* 46 */ MOVE(R0, REMOTE),
      /* 47 */ {.code = BPF_JMP | BPF_EXIT},
  };
  union bpf_attr attributes = {0};
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = (uint64_t)(uintptr_t)program;
  attributes.insn_cnt = sizeof program / sizeof program[0];
  attributes.license = (uint64_t)(uintptr_t) "MIT";
  return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
}

static bool read_steering(napi_env env, const napi_value values[6], struct steering *s) {
  if (!integer_argument(env, values[1], "remoteAt", 0, 15, &s->remote_at) ||
      !integer_argument(env, values[2], "remoteBits", 0, 32, &s->remote_bits) ||
      !integer_argument(env, values[3], "secret", 0, UINT32_MAX, &s->secret) ||
      !integer_argument(env, values[4], "first", 0, MAX_QUEUES - 1, &s->first) ||
      !integer_argument(env, values[5], "count", 1, MAX_QUEUES, &s->count)) {
    return false;
  }
  if (s->remote_bits % 8 != 0) {
    throw_range_error(env, "remoteBits must be 0, 8, 16, 24 or 32, not %d", (int)s->remote_bits);
    return false;
  }
  if (s->remote_at + s->remote_bits / 8 > 16) {
    throw_range_error(env, "remoteAt and remoteBits reach behind the address");
    return false;
  }
  return true;
}

napi_value set_steering(napi_env env, napi_callback_info info) {
  napi_value values[6];
  int fd;
  struct steering steering;
  if (!arguments(env, info, 6, values) || !descriptor_argument(env, values[0], &fd) ||
      !read_steering(env, values, &steering)) {
    return NULL;
  }
  /* EAGAIN: a signal was pending while the kernel checked it. */
  int program = load_program(&steering);
  for (int tries = 1; program < 0 && errno == EAGAIN && tries < LOAD_TRIES; tries++) program = load_program(&steering);
  if (program < 0 && errno != EPERM && errno != ENOSYS) {
    throw_system_error(env, errno, "bpf", NULL);
    return NULL;
  }
  bool accepted = program >= 0;
  if (accepted) {
    /* The device keeps the program; its descriptor has done its work. */
    int failed = ioctl(fd, TUNSETSTEERINGEBPF, &program);
    int error = errno;
    close(program);
    if (failed != 0 && error != EINVAL) {
      throw_queue_error(env, error, "TUNSETSTEERINGEBPF", fd);
      return NULL;
    }
    accepted = failed == 0;
  }
  return boolean_value(env, accepted);
}

napi_value clear_steering(napi_env env, napi_callback_info info) {
  napi_value value;
  int fd, none = -1;
  if (!arguments(env, info, 1, &value) || !descriptor_argument(env, value, &fd)) return NULL;
  /* A kernel that does not know it has nothing to clear. */
  if (ioctl(fd, TUNSETSTEERINGEBPF, &none) != 0 && errno != EINVAL) {
    throw_queue_error(env, errno, "TUNSETSTEERINGEBPF", fd);
  }
  return NULL;
}
