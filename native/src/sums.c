/*
 * Internet checksums over many ranges at once (RFC 1071). Large ranges take most of the time, and a compiler makes vector
 * instructions of this loop.
 */
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "addon.h"
#include "args.h"
#include "error.h"

/* The sum of the 16-bit words of a range in network byte order, folded; an odd last byte counts as the upper half of a word. */
static uint16_t sum_range(const uint8_t *at, size_t length) {
  /* The order of bytes within all words does not matter until the end (RFC 1071 section 2 (B)). */
  uint64_t sum = 0;
  for (; length >= 4; at += 4, length -= 4) {
    uint32_t word;
    memcpy(&word, at, sizeof word);
    sum += word;
  }
  if (length >= 2) {
    uint16_t half;
    memcpy(&half, at, sizeof half);
    sum += half;
    at += 2;
    length -= 2;
  }
  if (length > 0) {
    uint16_t last = 0;
    memcpy(&last, at, 1);
    sum += last;
  }
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  uint8_t bytes[2];
  uint16_t folded = (uint16_t)sum;
  memcpy(bytes, &folded, sizeof bytes);
  return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

napi_value sum_ranges(napi_env env, napi_callback_info info) {
  napi_value values[4];
  struct byte_view bytes;
  struct word_view ranges, sums;
  int64_t count;
  if (!arguments(env, info, 4, values) || !bytes_argument(env, values[0], "bytes", &bytes) ||
      !words_argument(env, values[1], "ranges", &ranges) ||
      !integer_argument(env, values[2], "count", 0, (int64_t)(ranges.length / 2), &count) ||
      !words_argument(env, values[3], "sums", &sums)) {
    return NULL;
  }
  if (sums.length < (size_t)count) {
    throw_range_error(env, "sums must hold %lld words, not %zu", (long long)count, sums.length);
    return NULL;
  }
  for (int64_t i = 0; i < count; i++) {
    int32_t offset = load_word(&ranges, (size_t)(2 * i));
    int32_t length = load_word(&ranges, (size_t)(2 * i + 1));
    if (offset < 0 || length < 0 || (uint64_t)offset + (uint64_t)length > bytes.length) {
      throw_range_error(env, "ranges: range %lld (offset %d, length %d) is outside of bytes (length %zu)", (long long)i, offset,
                        length, bytes.length);
      return NULL;
    }
    sums.data[i] = sum_range(bytes.data + offset, (size_t)length);
  }
  return NULL;
}
