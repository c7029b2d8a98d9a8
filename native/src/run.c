/*
 * Runs a program to its end, on a thread of libuv's pool. Node's own child processes are forked: the more memory a process has, the
 * longer the kernel copies its page tables, and the thread that asked waits. What posix_spawn makes borrows the memory instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "addon.h"
#include "args.h"
#include "error.h"
#include "result.h"

/* What a program may say: V8 holds no longer text. */
enum { MOST_BYTES = 1 << 29, LEAST_ROOM = 1 << 12 };

enum { IN, OUT, ERR, STREAMS };

struct text {
  char *bytes;
  size_t length, room;
};

struct run {
  napi_async_work work;
  napi_deferred deferred;
  char path[PATH_MAX];
  char **words, **variables;
  struct text input;
  int64_t timeout_ms;
  struct text said[STREAMS]; /* OUT and ERR */
  int status;                /* as waitpid gives it */
  int error;
  const char *syscall;
};

static void free_run(napi_env env, struct run *run) {
  if (run->work != NULL) napi_delete_async_work(env, run->work);
  free_strings(run->words);
  free_strings(run->variables);
  free(run->input.bytes);
  for (int stream = 0; stream < STREAMS; stream++) free(run->said[stream].bytes);
  free(run);
}

/* The first failure is the one that is told. */
static bool fail(struct run *run, int error, const char *syscall) {
  if (run->error == 0) {
    run->error = error;
    run->syscall = syscall;
  }
  return false;
}

static int64_t now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* `ours` and `theirs`: the ends of a pipe for each of the standard streams. */
static bool open_pipes(struct run *run, int ours[STREAMS], int theirs[STREAMS]) {
  for (int stream = 0; stream < STREAMS; stream++) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail(run, errno, "pipe2");
    ours[stream] = ends[stream == IN];
    theirs[stream] = ends[stream != IN];
    if (fcntl(ours[stream], F_SETFL, O_NONBLOCK) != 0) return fail(run, errno, "fcntl");
  }
  return true;
}

static bool start(struct run *run, int theirs[STREAMS], pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0) return fail(run, error, "posix_spawn");
  error = posix_spawnattr_init(&attributes);
  if (error != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return fail(run, error, "posix_spawn");
  }
  for (int stream = 0; stream < STREAMS && error == 0; stream++) {
    error = posix_spawn_file_actions_adddup2(&actions, theirs[stream], stream);
  }
  /* Node ignores SIGPIPE, and a thread of the pool blocks what it pleases. */
  sigset_t signals;
  sigfillset(&signals);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  if (error == 0) error = posix_spawn(pid, run->path, &actions, &attributes, run->words, run->variables);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error == 0 || fail(run, error, "posix_spawn");
}

/* Writes what there is room for; closes when all is written, or the program reads no more. */
static void feed(struct run *run, int *fd, size_t *written) {
  while (*written < run->input.length) {
    ssize_t count = write(*fd, run->input.bytes + *written, run->input.length - *written);
    if (count > 0) *written += (size_t)count;
    else if (count < 0 && errno == EAGAIN) return;
    else if (count >= 0 || errno != EINTR) break;
  }
  close_fd(fd);
}

/* Reads what there is; closes at the end. */
static bool hear(struct run *run, int *fd, struct text *text) {
  for (;;) {
    if (text->length == text->room) {
      if (text->room >= MOST_BYTES) return fail(run, ENOBUFS, "read");
      size_t room = text->room == 0 ? LEAST_ROOM : 2 * text->room;
      char *bytes = realloc(text->bytes, room);
      if (bytes == NULL) return fail(run, ENOMEM, "read");
      text->bytes = bytes;
      text->room = room;
    }
    ssize_t count = read(*fd, text->bytes + text->length, text->room - text->length);
    if (count > 0) text->length += (size_t)count;
    else if (count < 0 && errno == EAGAIN) return true;
    else if (count >= 0 || errno != EINTR) break;
  }
  close_fd(fd);
  return true;
}

/* Until the program has closed its streams. */
static bool attend(struct run *run, int ours[STREAMS], int64_t end_ms) {
  size_t written = 0;
  while (ours[OUT] >= 0 || ours[ERR] >= 0) {
    int64_t left_ms = end_ms - now_ms();
    if (left_ms <= 0) return fail(run, ETIMEDOUT, "poll");
    struct pollfd waiting[STREAMS];
    for (int stream = 0; stream < STREAMS; stream++) {
      waiting[stream] = (struct pollfd){.fd = ours[stream], .events = stream == IN ? POLLOUT : POLLIN};
    }
    if (poll(waiting, STREAMS, left_ms > INT_MAX ? INT_MAX : (int)left_ms) < 0 && errno != EINTR) {
      return fail(run, errno, "poll");
    }
    if (waiting[IN].revents != 0) feed(run, &ours[IN], &written);
    for (int stream = OUT; stream <= ERR; stream++) {
      if (waiting[stream].revents != 0 && !hear(run, &ours[stream], &run->said[stream])) return false;
    }
  }
  return true;
}

/* Nearly always it has ended by then. Nothing tells of the end of one that goes on without its streams; it is asked for. */
static bool await_end(struct run *run, pid_t pid, int64_t end_ms) {
  for (;;) {
    pid_t ended = waitpid(pid, &run->status, WNOHANG);
    if (ended == pid) return true;
    if (ended < 0 && errno != EINTR) return fail(run, errno, "waitpid");
    if (now_ms() >= end_ms) return fail(run, ETIMEDOUT, "waitpid");
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
}

static void run_to_end(napi_env env, void *data) {
  (void)env;
  struct run *run = data;
  int ours[STREAMS] = {-1, -1, -1}, theirs[STREAMS] = {-1, -1, -1};
  int64_t end_ms = now_ms() + run->timeout_ms;
  pid_t pid = -1;
  bool started = open_pipes(run, ours, theirs) && start(run, theirs, &pid);
  for (int stream = 0; stream < STREAMS; stream++) close_fd(&theirs[stream]);
  if (started) {
    bool attended = attend(run, ours, end_ms);
    /* One that reads to the end finds it. */
    close_fd(&ours[IN]);
    if (!attended || !await_end(run, pid, end_ms)) {
      kill(pid, SIGKILL);
      while (waitpid(pid, &run->status, 0) < 0 && errno == EINTR) continue;
    }
  }
  for (int stream = 0; stream < STREAMS; stream++) close_fd(&ours[stream]);
}

static napi_value text_value(napi_env env, const struct text *text) {
  napi_value value;
  const char *bytes = text->bytes == NULL ? "" : text->bytes;
  return succeeded(env, napi_create_string_utf8(env, bytes, text->length, &value)) ? value : NULL;
}

static napi_value result_of(napi_env env, const struct run *run) {
  if (run->error != 0) {
    throw_system_error(env, run->error, run->syscall, NULL);
    return NULL;
  }
  napi_value result;
  if (!succeeded(env, napi_create_object(env, &result))) return NULL;
  const struct {
    const char *name;
    napi_value value;
  } properties[] = {
      {"status", integer_value(env, WIFEXITED(run->status) ? WEXITSTATUS(run->status) : -1)},
      {"signal", integer_value(env, WIFSIGNALED(run->status) ? WTERMSIG(run->status) : 0)},
      {"stdout", text_value(env, &run->said[OUT])},
      {"stderr", text_value(env, &run->said[ERR])},
  };
  for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++) {
    if (properties[i].value == NULL ||
        !succeeded(env, napi_set_named_property(env, result, properties[i].name, properties[i].value))) {
      return NULL;
    }
  }
  return result;
}

static void settle(napi_env env, napi_status status, void *data) {
  struct run *run = data;
  if (status != napi_ok) fail(run, ECANCELED, "posix_spawn");
  napi_value result = result_of(env, run);
  if (result != NULL) {
    napi_resolve_deferred(env, run->deferred, result);
  } else {
    napi_value exception;
    if (napi_get_and_clear_last_exception(env, &exception) == napi_ok)
      napi_reject_deferred(env, run->deferred, exception);
  }
  free_run(env, run);
}

/* Any text, of any length. */
static bool text_argument(napi_env env, napi_value value, const char *name, struct text *text) {
  napi_valuetype type;
  if (!succeeded(env, napi_typeof(env, value, &type))) return false;
  if (type != napi_string) {
    throw_type_error(env, "%s must be a string", name);
    return false;
  }
  if (!succeeded(env, napi_get_value_string_utf8(env, value, NULL, 0, &text->length))) return false;
  text->bytes = malloc(text->length + 1);
  if (text->bytes == NULL) {
    throw_system_error(env, ENOMEM, "malloc", NULL);
    return false;
  }
  return succeeded(env, napi_get_value_string_utf8(env, value, text->bytes, text->length + 1, &text->length));
}

static bool run_arguments(napi_env env, napi_callback_info info, struct run *run) {
  napi_value values[5];
  if (!arguments(env, info, 5, values) ||
      !string_argument(env, values[0], "path", run->path, sizeof run->path)) {
    return false;
  }
  run->words = strings_argument(env, values[1], "argv");
  if (run->words == NULL) return false;
  if (run->words[0] == NULL) {
    throw_range_error(env, "argv must hold the program's name at least");
    return false;
  }
  run->variables = strings_argument(env, values[2], "env");
  return run->variables != NULL && text_argument(env, values[3], "input", &run->input) &&
         integer_argument(env, values[4], "timeoutMs", 1, INT_MAX, &run->timeout_ms);
}

napi_value run_program(napi_env env, napi_callback_info info) {
  struct run *run = calloc(1, sizeof *run);
  if (run == NULL) {
    throw_system_error(env, ENOMEM, "calloc", NULL);
    return NULL;
  }
  napi_value name, promise;
  if (!run_arguments(env, info, run) ||
      !succeeded(env, napi_create_string_utf8(env, "nat64d:run", NAPI_AUTO_LENGTH, &name)) ||
      !succeeded(env, napi_create_async_work(env, NULL, name, run_to_end, settle, run, &run->work)) ||
      !succeeded(env, napi_create_promise(env, &run->deferred, &promise))) {
    free_run(env, run);
    return NULL;
  }
  if (!succeeded(env, napi_queue_async_work(env, run->work))) {
    free_run(env, run);
    return NULL;
  }
  return promise;
}
