/* What a daemon does to its own process and Node has no call for. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <malloc.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "addon.h"
#include "args.h"
#include "error.h"

/* Linux has 41 capabilities; the bits of a number that JavaScript can hold exactly leave room for more. */
enum { MOST_CAPABILITIES = 53 };

/* A set of capabilities, one bit for each. */
static bool keep_argument(napi_env env, napi_callback_info info, int64_t *keep) {
  napi_value value;
  return arguments(env, info, 1, &value) &&
         integer_argument(env, value, "keep", 0, ((int64_t)1 << MOST_CAPABILITIES) - 1, keep);
}

napi_value set_no_new_privs(napi_env env, napi_callback_info info) {
  (void)info;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) throw_system_error(env, errno, "prctl", NULL);
  return NULL;
}

napi_value drop_bounding_set(napi_env env, napi_callback_info info) {
  int64_t keep;
  if (!keep_argument(env, info, &keep)) return NULL;
  for (int capability = 0; capability < MOST_CAPABILITIES; capability++) {
    if ((keep >> capability & 1) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    /* The first number that the kernel does not know. */
    if (errno == EINVAL) break;
    throw_system_error(env, errno, "prctl", "capability %d cannot be dropped: that takes CAP_SETPCAP", capability);
    break;
  }
  return NULL;
}

napi_value keep_capabilities(napi_env env, napi_callback_info info) {
  (void)info;
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) throw_system_error(env, errno, "prctl", NULL);
  return NULL;
}

napi_value set_capabilities(napi_env env, napi_callback_info info) {
  int64_t keep;
  if (!keep_argument(env, info, &keep)) return NULL;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
  if (syscall(SYS_capget, &header, sets) != 0) {
    throw_system_error(env, errno, "capget", NULL);
    return NULL;
  }
  for (int word = 0; word < _LINUX_CAPABILITY_U32S_3; word++) {
    sets[word].permitted &= (uint32_t)(keep >> 32 * word);
    sets[word].effective = sets[word].inheritable = sets[word].permitted;
  }
  if (syscall(SYS_capset, &header, sets) != 0) {
    throw_system_error(env, errno, "capset", NULL);
    return NULL;
  }
  for (int capability = 0; capability < MOST_CAPABILITIES; capability++) {
    if ((sets[capability / 32].permitted >> capability % 32 & 1) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0) continue;
    throw_system_error(env, errno, "prctl", "capability %d cannot be passed on to the next program", capability);
    break;
  }
  return NULL;
}

napi_value change_root(napi_env env, napi_callback_info info) {
  napi_value value;
  char path[PATH_MAX];
  if (!arguments(env, info, 1, &value) || !string_argument(env, value, "path", path, sizeof path)) return NULL;
  /* From inside first: a path cannot be exchanged between the two calls then. */
  if (chdir(path) != 0) {
    throw_system_error(env, errno, "chdir", "%s: %s; make the folder", path, strerror(errno));
  } else if (chroot(".") != 0) {
    throw_system_error(env, errno, "chroot", "%s cannot become the root: that takes CAP_SYS_CHROOT", path);
  }
  return NULL;
}

napi_value release_memory(napi_env env, napi_callback_info info) {
  (void)env;
  (void)info;
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  return NULL;
}

napi_value execute(napi_env env, napi_callback_info info) {
  napi_value values[3];
  char path[PATH_MAX];
  if (!arguments(env, info, 3, values) || !string_argument(env, values[0], "path", path, sizeof path)) return NULL;
  char **words = strings_argument(env, values[1], "argv");
  if (words == NULL) return NULL;
  /* Who finds no name of its own there reads what lies behind: its environment. */
  if (words[0] == NULL) {
    throw_range_error(env, "argv must hold the program's name at least");
    free_strings(words);
    return NULL;
  }
  char **variables = strings_argument(env, values[2], "env");
  if (variables != NULL) {
    /* libuv has marked all descriptors at the start of Node. The standard streams are the next program's too. */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
      int flags = fcntl(fd, F_GETFD);
      if (flags >= 0) fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC);
    }
    execve(path, words, variables);
    throw_system_error(env, errno, "execve", "%s: %s", path, strerror(errno));
  }
  free_strings(words);
  free_strings(variables);
  return NULL;
}
