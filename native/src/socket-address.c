#include "socket-address.h"

#include <arpa/inet.h>
#include <limits.h>

#include "error.h"

static const int32_t MAPPED = 0xffff;

bool endpoint_argument(napi_env env, const napi_value values[3], const char *const names[3], struct endpoint *result) {
  struct word_view words;
  if (!words_argument(env, values[0], names[0], &words) ||
      !integer_argument(env, values[1], names[1], 0, UINT16_MAX, &result->port) ||
      !integer_argument(env, values[2], names[2], 0, INT_MAX, &result->scope)) {
    return false;
  }
  if (words.length != 4) {
    throw_range_error(env, "%s must hold 4 words, not %zu", names[0], words.length);
    return false;
  }
  for (size_t i = 0; i < 4; i++) result->words[i] = load_word(&words, i);
  result->is_v4 = result->words[0] == 0 && result->words[1] == 0 && result->words[2] == MAPPED;
  return true;
}

void load_address6(const int32_t words[4], struct in6_addr *address) {
  for (int i = 0; i < 4; i++) address->s6_addr32[i] = htonl((uint32_t)words[i]);
}

void store_address6(const struct word_view *words, size_t at, const struct in6_addr *address) {
  for (size_t i = 0; i < 4; i++) store_word(words, at + i, (int32_t)ntohl(address->s6_addr32[i]));
}

void store_address4(const struct word_view *words, size_t at, struct in_addr address) {
  store_word(words, at, 0);
  store_word(words, at + 1, 0);
  store_word(words, at + 2, MAPPED);
  store_word(words, at + 3, (int32_t)ntohl(address.s_addr));
}

socklen_t make_socket_address(bool is_v4, const int32_t words[4], uint16_t port, uint32_t scope,
                              union socket_address *address) {
  if (is_v4) {
    address->v4 = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl((uint32_t)words[3])};
    return sizeof address->v4;
  }
  address->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = scope};
  load_address6(words, &address->v6.sin6_addr);
  return sizeof address->v6;
}
