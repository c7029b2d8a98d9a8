/* Batched read and write. One call of JavaScript moves a whole burst, so that the price of crossing into C is paid once. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "addon.h"
#include "args.h"
#include "error.h"
#include "result.h"

enum { FRAME_ALIGNMENT = 16, MAX_PIECES = 64, MAX_WAIT_US = 1000 };

struct read_arguments {
  int fd;
  struct byte_view ring;
  int64_t start;
  int64_t end;
  int64_t headroom;
  struct word_view frames;
  int64_t max_frames;
};

static bool read_read_arguments(napi_env env, napi_callback_info info, struct read_arguments *a) {
  napi_value values[7];
  return arguments(env, info, 7, values) && descriptor_argument(env, values[0], &a->fd) &&
         bytes_argument(env, values[1], "ring", &a->ring) &&
         /* Offsets are returned in 32-bit words. */
         integer_argument(env, values[3], "end", 0, a->ring.length < INT_MAX ? (int64_t)a->ring.length : INT_MAX, &a->end) &&
         integer_argument(env, values[2], "start", 0, a->end, &a->start) &&
         integer_argument(env, values[4], "headroom", VNET_HDR_BYTES, INT_MAX, &a->headroom) &&
         words_argument(env, values[5], "frames", &a->frames) &&
         integer_argument(env, values[6], "maxFrames", 0, (int64_t)(a->frames.length / 2), &a->max_frames);
}

napi_value read_burst(napi_env env, napi_callback_info info) {
  struct read_arguments a;
  if (!read_read_arguments(env, info, &a)) return NULL;

  int64_t count = 0;
  int64_t free_from = a.start;
  /* Counts tries and not frames, so that a descriptor that only ever gives short reads cannot hold the thread. */
  for (int64_t tries = 0; tries < a.max_frames; tries++) {
    int64_t frame = (free_from + a.headroom + FRAME_ALIGNMENT - 1) / FRAME_ALIGNMENT * FRAME_ALIGNMENT;
    if (frame + MAX_FRAME_BYTES > a.end) break;
    ssize_t got = read(a.fd, a.ring.data + frame - VNET_HDR_BYTES, VNET_HDR_BYTES + MAX_FRAME_BYTES);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || count > 0) break;
      throw_queue_error(env, errno, "read", a.fd);
      return NULL;
    }
    if (got == 0) break;
    if (got < VNET_HDR_BYTES) continue;
    int64_t length = got - VNET_HDR_BYTES;
    store_word(&a.frames, (size_t)(2 * count), (int32_t)frame);
    store_word(&a.frames, (size_t)(2 * count + 1), (int32_t)length);
    count++;
    free_from = frame + length;
  }
  return integer_value(env, count);
}

/* Takes the next frame's pieces off the list. Returns how many, or -1 with a RangeError pending. */
static int next_frame(napi_env env, const struct byte_view *bytes, const struct word_view *list, size_t *at,
                      int64_t frame, struct iovec pieces[MAX_PIECES]) {
  if (*at >= list->length) {
    throw_range_error(env, "list ends before frame %lld", (long long)frame);
    return -1;
  }
  int32_t count = load_word(list, (*at)++);
  if (count < 1 || count > MAX_PIECES) {
    throw_range_error(env, "list: frame %lld has %d pieces; 1 to %d are possible", (long long)frame, count, MAX_PIECES);
    return -1;
  }
  if ((list->length - *at) / 2 < (size_t)count) {
    throw_range_error(env, "list ends within frame %lld, which has %d pieces", (long long)frame, count);
    return -1;
  }
  for (int32_t i = 0; i < count; i++) {
    int32_t offset = load_word(list, (*at)++);
    int32_t length = load_word(list, (*at)++);
    if (offset < 0 || length < 0 || (uint64_t)offset + (uint64_t)length > bytes->length) {
      throw_range_error(env, "list: piece %d of frame %lld (offset %d, length %d) is outside of bytes (length %zu)", i,
                        (long long)frame, offset, length, bytes->length);
      return -1;
    }
    pieces[i].iov_base = bytes->data + offset;
    pieces[i].iov_len = (size_t)length;
  }
  return count;
}

napi_value write_burst(napi_env env, napi_callback_info info) {
  napi_value values[5];
  int fd;
  struct byte_view bytes;
  struct word_view list, refused;
  int64_t count;
  if (!arguments(env, info, 5, values) || !descriptor_argument(env, values[0], &fd) ||
      !bytes_argument(env, values[1], "bytes", &bytes) || !words_argument(env, values[2], "list", &list) ||
      !integer_argument(env, values[3], "count", 0, INT_MAX, &count) ||
      !mishaps_argument(env, values[4], "refused", &refused)) {
    return NULL;
  }
  int32_t refusals = 0;
  size_t at = 0;
  for (int64_t frame = 0; frame < count; frame++) {
    struct iovec pieces[MAX_PIECES];
    size_t count_at = at;
    int piece_count = next_frame(env, &bytes, &list, &at, frame, pieces);
    if (piece_count < 0) return NULL;
    ssize_t put;
    do {
      /* Most frames have one piece, and the kernel need not fetch a vector for those. */
      put = piece_count == 1 ? write(fd, pieces[0].iov_base, pieces[0].iov_len) : writev(fd, pieces, piece_count);
    } while (put < 0 && errno == EINTR);
    if (put >= 0) continue;
    int error = errno;
    if (error == EBADF || error == EBADFD || error == EFAULT) {
      throw_queue_error(env, error, "writev", fd);
      return NULL;
    }
    store_word(&list, count_at, -piece_count);
    store_word(&refused, 0, ++refusals);
    store_word(&refused, 1, error);
  }
  return integer_value(env, count - refusals);
}

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* Looks again and again, and lets whoever else wants this CPU have it in between. */
static bool wait_awake(struct pollfd *one, int64_t timeout_us) {
  int64_t end_us = now_us() + timeout_us;
  while (poll(one, 1, 0) <= 0) {
    if (now_us() >= end_us) return false;
    sched_yield();
  }
  return true;
}

static bool wait_asleep(struct pollfd *one, int64_t timeout_us) {
  struct timespec timeout = {.tv_nsec = timeout_us * 1000};
  return ppoll(one, 1, &timeout, NULL) > 0;
}

napi_value wait_readable(napi_env env, napi_callback_info info) {
  napi_value values[3];
  int fd;
  int64_t timeout_us;
  bool awake;
  if (!arguments(env, info, 3, values) || !descriptor_argument(env, values[0], &fd) ||
      !integer_argument(env, values[1], "timeoutUs", 0, MAX_WAIT_US, &timeout_us) ||
      !boolean_argument(env, values[2], "isAwake", &awake)) {
    return NULL;
  }
  /* An error is something to read too: the read tells what it is. */
  struct pollfd one = {.fd = fd, .events = POLLIN};
  return boolean_value(env, awake ? wait_awake(&one, timeout_us) : wait_asleep(&one, timeout_us));
}
