/*
 * Poller: a uv_poll_t on the loop of the thread that makes it.
 *
 *   new ──► polling ──stop(), an error, or the end of the thread──► closing ──uv_close has called back──► closed
 *
 * While polling or closing, `self` keeps the JavaScript object and so the callback alive. The memory has two owners: the
 * handle, until libuv has closed it, and the JavaScript object, until it is collected. Whichever goes last frees it.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <uv.h>

#include "addon.h"
#include "args.h"
#include "error.h"

struct poller {
  uv_poll_t handle;
  napi_env env;
  napi_ref self;
  napi_ref callback;
  napi_async_context context;
  napi_async_cleanup_hook_handle cleanup_hook;
  int owners;
};

static void release(struct poller *poller) {
  if (--poller->owners == 0) free(poller);
}

static void on_collected(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  release(data);
}

static void on_closed(uv_handle_t *handle) {
  struct poller *poller = handle->data;
  napi_env env = poller->env;
  if (poller->self != NULL) napi_delete_reference(env, poller->self);
  if (poller->callback != NULL) napi_delete_reference(env, poller->callback);
  if (poller->context != NULL) napi_async_destroy(env, poller->context);
  napi_async_cleanup_hook_handle cleanup_hook = poller->cleanup_hook;
  release(poller);
  /* Last: where the thread is ending, this is what it waits for. */
  if (cleanup_hook != NULL) napi_remove_async_cleanup_hook(cleanup_hook);
}

static void close_poller(struct poller *poller) {
  uv_handle_t *handle = (uv_handle_t *)&poller->handle;
  if (!uv_is_closing(handle)) uv_close(handle, on_closed);
}

/* The thread ends: worker.terminate(), process.exit(), an uncaught exception, or nothing left to do. */
static void on_thread_end(napi_async_cleanup_hook_handle hook, void *data) {
  (void)hook;
  close_poller(data);
}

static void call_back(struct poller *poller, int error) {
  napi_env env = poller->env;
  napi_value self, callback, argument;
  if (napi_get_reference_value(env, poller->self, &self) != napi_ok ||
      napi_get_reference_value(env, poller->callback, &callback) != napi_ok ||
      napi_create_int32(env, error, &argument) != napi_ok) {
    return;
  }
  /* Also runs the microtasks and nextTicks that the callback leaves. */
  if (napi_make_callback(env, poller->context, self, callback, 1, &argument, NULL) != napi_pending_exception) return;
  napi_value exception;
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
}

/*
 * libuv takes every error condition for the end, but a socket has one whenever an ICMP error has come for it, and lives on: the
 * next read says which. Asking for SO_TYPE leaves that error where it is.
 */
static bool is_living_socket(const uv_poll_t *handle) {
  uv_os_fd_t fd;
  int type;
  socklen_t length = sizeof type;
  return uv_fileno((const uv_handle_t *)handle, &fd) == 0 && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0;
}

static void on_poll(uv_poll_t *handle, int status, int events) {
  (void)events;
  struct poller *poller = handle->data;
  if (status == UV_EBADF && is_living_socket(handle) && uv_poll_start(handle, UV_READABLE, on_poll) == 0) status = 0;
  napi_handle_scope scope;
  if (napi_open_handle_scope(poller->env, &scope) != napi_ok) return;
  call_back(poller, status < 0 ? -status : 0);
  napi_close_handle_scope(poller->env, scope);
  /* libuv polls no further after an error. */
  if (status < 0) close_poller(poller);
}

static void throw_poll_error(napi_env env, int error, int fd) {
  switch (error) {
    case UV_EEXIST:
      throw_system_error(env, -error, "uv_poll_init", "descriptor %d is polled by this thread already; stop that first", fd);
      break;
    case UV_EPERM:
      throw_system_error(env, -error, "uv_poll_init", "descriptor %d is of a kind that cannot be polled", fd);
      break;
    case UV_EBADF:
      throw_system_error(env, -error, "uv_poll_init", "descriptor %d is closed; open it first", fd);
      break;
    default:
      throw_system_error(env, -error, "uv_poll_init", NULL);
  }
}

/* Gives the poller what it needs to call back and to end with its thread. */
static bool attach(napi_env env, struct poller *poller, napi_value self, napi_value callback) {
  napi_value name;
  if (!succeeded(env, napi_wrap(env, self, poller, on_collected, NULL, NULL))) return false;
  poller->owners++;
  return succeeded(env, napi_create_string_utf8(env, "nat64d.Poller", NAPI_AUTO_LENGTH, &name)) &&
         succeeded(env, napi_async_init(env, self, name, &poller->context)) &&
         succeeded(env, napi_create_reference(env, callback, 1, &poller->callback)) &&
         succeeded(env, napi_create_reference(env, self, 1, &poller->self)) &&
         succeeded(env, napi_add_async_cleanup_hook(env, on_thread_end, poller, &poller->cleanup_hook));
}

static napi_value construct(napi_env env, napi_callback_info info) {
  napi_value new_target, self, values[2];
  size_t given = 2;
  int fd;
  uv_loop_t *loop;
  if (!succeeded(env, napi_get_new_target(env, info, &new_target)) ||
      !succeeded(env, napi_get_cb_info(env, info, &given, values, &self, NULL))) {
    return NULL;
  }
  if (new_target == NULL) {
    throw_type_error(env, "Poller must be called with new");
    return NULL;
  }
  if (!descriptor_argument(env, values[0], &fd) || !function_argument(env, values[1], "onReadable") ||
      !succeeded(env, napi_get_uv_event_loop(env, &loop))) {
    return NULL;
  }
  struct poller *poller = calloc(1, sizeof *poller);
  if (poller == NULL) {
    throw_system_error(env, -UV_ENOMEM, "malloc", NULL);
    return NULL;
  }
  int status = uv_poll_init(loop, &poller->handle, fd);
  if (status != 0) {
    free(poller);
    throw_poll_error(env, status, fd);
    return NULL;
  }
  poller->env = env;
  poller->handle.data = poller;
  poller->owners = 1;
  if (!attach(env, poller, self, values[1])) {
    close_poller(poller);
    return NULL;
  }
  status = uv_poll_start(&poller->handle, UV_READABLE, on_poll);
  if (status != 0) {
    close_poller(poller);
    throw_poll_error(env, status, fd);
    return NULL;
  }
  return self;
}

/* The class's signature lets no other object through; one whose constructor threw has no poller. */
static napi_value stop(napi_env env, napi_callback_info info) {
  napi_value self;
  void *data = NULL;
  if (!succeeded(env, napi_get_cb_info(env, info, NULL, NULL, &self, NULL))) return NULL;
  if (napi_unwrap(env, self, &data) == napi_ok && data != NULL) close_poller(data);
  return NULL;
}

bool define_poller(napi_env env, napi_value exports) {
  const napi_property_descriptor methods[] = {
      {.utf8name = "stop", .method = stop, .attributes = napi_default_method},
  };
  napi_value class;
  return succeeded(env, napi_define_class(env, "Poller", NAPI_AUTO_LENGTH, construct, NULL, 1, methods, &class)) &&
         succeeded(env, napi_set_named_property(env, exports, "Poller", class));
}
