/* Unix datagrams, which Node does not speak: syslog and systemd listen for them. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "addon.h"
#include "args.h"
#include "error.h"
#include "result.h"

napi_value open_datagram(napi_env env, napi_callback_info info) {
  napi_value value;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (!arguments(env, info, 1, &value) ||
      !string_argument(env, value, "path", address.sun_path, sizeof address.sun_path)) {
    return NULL;
  }
  size_t length = offsetof(struct sockaddr_un, sun_path) + strlen(address.sun_path);
  /* An abstract name begins with a zero byte and is exactly as long as it says; a path ends with one. */
  if (address.sun_path[0] == '@') {
    address.sun_path[0] = '\0';
  } else {
    length++;
  }
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    throw_system_error(env, errno, "socket", NULL);
    return NULL;
  }
  if (connect(fd, (struct sockaddr *)&address, (socklen_t)length) != 0) {
    int error = errno;
    close(fd);
    const char *path = address.sun_path[0] == '\0' ? address.sun_path + 1 : address.sun_path;
    throw_system_error(env, error, "connect", "%s: %s", path, strerror(error));
    return NULL;
  }
  return integer_value(env, fd);
}

/* What says that the listener takes nothing now, or has gone. */
static bool is_refusal(int error) {
  return error == EAGAIN || error == ENOBUFS || error == ECONNREFUSED || error == ENOTCONN || error == EPIPE ||
         error == ECONNRESET;
}

napi_value send_datagram(napi_env env, napi_callback_info info) {
  napi_value values[2];
  int fd;
  struct byte_view bytes;
  if (!arguments(env, info, 2, values) || !descriptor_argument(env, values[0], &fd) ||
      !bytes_argument(env, values[1], "bytes", &bytes)) {
    return NULL;
  }
  ssize_t sent = send(fd, bytes.data, bytes.length, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && !is_refusal(errno)) {
    if (errno == EMSGSIZE) {
      throw_system_error(env, errno, "send", "%zu bytes are more than one datagram holds", bytes.length);
    } else {
      throw_system_error(env, errno, "send", NULL);
    }
    return NULL;
  }
  return boolean_value(env, sent >= 0);
}
