/* Advisory locks on open files, which end with the process that holds them, however it ends. */
#include <errno.h>
#include <sys/file.h>

#include "addon.h"
#include "args.h"
#include "error.h"
#include "result.h"

napi_value lock_file(napi_env env, napi_callback_info info) {
  napi_value value;
  int fd;
  if (!arguments(env, info, 1, &value) || !descriptor_argument(env, value, &fd)) return NULL;
  bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (!locked && errno != EWOULDBLOCK) {
    throw_system_error(env, errno, "flock", NULL);
    return NULL;
  }
  return boolean_value(env, locked);
}
