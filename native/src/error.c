#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

enum { MESSAGE_BYTES = 512, CODE_BYTES = 64 };

bool succeeded(napi_env env, napi_status status) {
  if (status == napi_ok) return true;
  const napi_extended_error_info *info = NULL;
  const char *text = NULL;
  if (napi_get_last_error_info(env, &info) == napi_ok && info != NULL) text = info->error_message;
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) {
    napi_throw_error(env, "ERR_NAPI", text != NULL ? text : "a call of Node-API failed");
  }
  return false;
}

/* libuv knows the names that Node's own errors carry; the one it lacks is what a queue of a deleted device answers. */
static void error_code(int error, char code[CODE_BYTES]) {
  if (error == EBADFD) {
    strcpy(code, "EBADFD");
  } else {
    uv_err_name_r(-error, code, CODE_BYTES);
  }
}

/* Creates the Error and throws it; gives up silently where the thread is ending and can hold no more JavaScript. */
static void throw_with_properties(napi_env env, int error, const char *code, const char *syscall, const char *message) {
  napi_value text, code_value, errno_value, syscall_value, exception;
  if (napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &text) != napi_ok ||
      napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &code_value) != napi_ok ||
      napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &syscall_value) != napi_ok ||
      napi_create_int32(env, error, &errno_value) != napi_ok ||
      napi_create_error(env, code_value, text, &exception) != napi_ok ||
      napi_set_named_property(env, exception, "errno", errno_value) != napi_ok ||
      napi_set_named_property(env, exception, "syscall", syscall_value) != napi_ok) {
    return;
  }
  napi_throw(env, exception);
}

void throw_system_error(napi_env env, int error, const char *syscall, const char *format, ...) {
  char code[CODE_BYTES];
  error_code(error, code);
  char reason[MESSAGE_BYTES];
  if (format != NULL) {
    va_list values;
    va_start(values, format);
    vsnprintf(reason, sizeof reason, format, values);
    va_end(values);
  } else {
    uv_strerror_r(-error, reason, sizeof reason);
  }
  char message[MESSAGE_BYTES + 2 * CODE_BYTES];
  snprintf(message, sizeof message, "%s (%s: %s)", reason, syscall, code);
  throw_with_properties(env, error, code, syscall, message);
}

void throw_queue_error(napi_env env, int error, const char *syscall, int fd) {
  switch (error) {
    case EBADF:
      throw_system_error(env, error, syscall, "descriptor %d is closed; open a queue first", fd);
      break;
    case EBADFD:
      throw_system_error(env, error, syscall,
                         "the device of descriptor %d has been deleted; close the queue and open another", fd);
      break;
    case ENOTTY:
      throw_system_error(env, error, syscall, "descriptor %d is not a queue of a TUN device", fd);
      break;
    default:
      throw_system_error(env, error, syscall, NULL);
  }
}

void throw_socket_error(napi_env env, int error, const char *syscall, int fd) {
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

void throw_type_error(napi_env env, const char *format, ...) {
  char message[MESSAGE_BYTES];
  va_list values;
  va_start(values, format);
  vsnprintf(message, sizeof message, format, values);
  va_end(values);
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
}

void throw_range_error(napi_env env, const char *format, ...) {
  char message[MESSAGE_BYTES];
  va_list values;
  va_start(values, format);
  vsnprintf(message, sizeof message, format, values);
  va_end(values);
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message);
}
