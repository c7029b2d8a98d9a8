/* TUN devices: Documentation/networking/tuntap.rst of the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addon.h"
#include "args.h"
#include "error.h"
#include "result.h"

/* From Linux 6.2; the headers of Debian 12 are older than the kernels it runs on. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#endif
#ifndef TUN_F_USO6
#define TUN_F_USO6 0x40
#endif

struct queue_options {
  char name[IFNAMSIZ];
  bool multi_queue;
  bool vnet_hdr;
  bool exclusive;
  unsigned long owner;
  unsigned long group;
};

static bool read_option(napi_env env, napi_value options, const char *name, napi_value *value) {
  return succeeded(env, napi_get_named_property(env, options, name, value));
}

static bool read_boolean(napi_env env, napi_value options, const char *name, const char *full_name, bool *result) {
  napi_value value;
  return read_option(env, options, name, &value) && boolean_argument(env, value, full_name, result);
}

/* The id of all ones means "nobody in particular" to the kernel, which would leave the device open to everybody. */
static bool read_id(napi_env env, napi_value options, const char *name, const char *full_name, unsigned long *result) {
  napi_value value;
  int64_t id;
  if (!read_option(env, options, name, &value) ||
      !integer_argument(env, value, full_name, 0, (int64_t)UINT32_MAX - 1, &id)) {
    return false;
  }
  *result = (unsigned long)id;
  return true;
}

static bool read_options(napi_env env, napi_value value, struct queue_options *options) {
  napi_valuetype type;
  if (!succeeded(env, napi_typeof(env, value, &type))) return false;
  if (type != napi_object) {
    throw_type_error(env, "options must be an object");
    return false;
  }
  napi_value name;
  return read_option(env, value, "name", &name) &&
         string_argument(env, name, "options.name", options->name, sizeof options->name) &&
         read_boolean(env, value, "multiQueue", "options.multiQueue", &options->multi_queue) &&
         read_boolean(env, value, "vnetHdr", "options.vnetHdr", &options->vnet_hdr) &&
         read_boolean(env, value, "exclusive", "options.exclusive", &options->exclusive) &&
         read_id(env, value, "owner", "options.owner", &options->owner) &&
         read_id(env, value, "group", "options.group", &options->group);
}

static void throw_open_error(napi_env env, int error) {
  const char *call = "open";
  switch (error) {
    case ENOENT:
      throw_system_error(env, error, call,
                         "/dev/net/tun is not there; load the driver with 'modprobe tun', or in a container make the "
                         "node with 'mkdir -p /dev/net && mknod /dev/net/tun c 10 200'");
      break;
    case ENODEV:
    case ENXIO:
      throw_system_error(env, error, call, "the kernel has no TUN driver; load it with 'modprobe tun'");
      break;
    case EACCES:
    case EPERM:
      throw_system_error(env, error, call,
                         "may not open /dev/net/tun; run as root or with CAP_NET_ADMIN, and in a container allow the "
                         "device (--device /dev/net/tun)");
      break;
    case EMFILE:
    case ENFILE:
      throw_system_error(env, error, call, "too many open files; raise the limit (ulimit -n, LimitNOFILE=)");
      break;
    default:
      throw_system_error(env, error, call, "cannot open /dev/net/tun");
  }
}

/* Why TUNSETIFF answered EINVAL. Asked over a socket and not of /sys, which may show another network namespace. */
static void throw_invalid_error(napi_env env, const struct queue_options *options) {
  const char *name = options->name;
  struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
  struct ifreq request = {0};
  strcpy(request.ifr_name, name);
  int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool exists = probe >= 0 && ioctl(probe, SIOCGIFFLAGS, &request) == 0;
  request.ifr_data = (void *)&driver;
  bool known = exists && ioctl(probe, SIOCETHTOOL, &request) == 0;
  if (probe >= 0) close(probe);

  if (!exists) {
    throw_system_error(env, EINVAL, "TUNSETIFF", "'%s' is not a name for an interface; use letters, digits, '-', '_', '.'",
                       name);
  } else if (!known || strcmp(driver.driver, "tun") != 0 || strcmp(driver.bus_info, "tun") != 0) {
    throw_system_error(env, EINVAL, "TUNSETIFF",
                       "interface '%s' exists and is not a TUN device; choose another name or remove it", name);
  } else if (options->multi_queue) {
    throw_system_error(env, EINVAL, "TUNSETIFF",
                       "device '%s' was made without multi_queue and takes one queue only; open it with one queue, or "
                       "make it anew with 'ip tuntap add dev %s mode tun multi_queue'",
                       name, name);
  } else {
    throw_system_error(env, EINVAL, "TUNSETIFF",
                       "device '%s' was made with multi_queue; open it with multi_queue, or make it anew with "
                       "'ip tuntap add dev %s mode tun'",
                       name, name);
  }
}

static void throw_attach_error(napi_env env, int error, const struct queue_options *options) {
  const char *call = "TUNSETIFF";
  const char *name = options->name;
  switch (error) {
    case EPERM:
      throw_system_error(env, error, call,
                         "may not make or use device '%s'; run as root, with CAP_NET_ADMIN, or as the owner of the device",
                         name);
      break;
    case EBUSY:
      if (options->exclusive) {
        throw_system_error(env, error, call, "an interface named '%s' exists; choose another name or remove it", name);
      } else {
        throw_system_error(env, error, call,
                           "device '%s' is in use by another process; stop that process, or choose another name", name);
      }
      break;
    case EINVAL:
      throw_invalid_error(env, options);
      break;
    case E2BIG:
      throw_system_error(env, error, call, "device '%s' has as many queues as the kernel allows (256)", name);
      break;
    case ENODEV:
      throw_system_error(env, error, call, "device '%s' has just been deleted; try again", name);
      break;
    default:
      throw_system_error(env, error, call, "cannot make or use device '%s'", name);
  }
}

/* What is set on a queue right after it is attached. Returns the name of the call that failed, or NULL. */
static const char *prepare(int fd, const struct queue_options *options) {
  int header_bytes = VNET_HDR_BYTES;
  int little_endian = 1;
  if (ioctl(fd, TUNSETOWNER, options->owner) != 0) return "TUNSETOWNER";
  if (ioctl(fd, TUNSETGROUP, options->group) != 0) return "TUNSETGROUP";
  if (!options->vnet_hdr) return NULL;
  if (ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) != 0) return "TUNSETVNETHDRSZ";
  /* Otherwise the header is in the machine's own byte order. */
  if (ioctl(fd, TUNSETVNETLE, &little_endian) != 0) return "TUNSETVNETLE";
  return NULL;
}

static napi_value queue_object(napi_env env, int fd, const char *name) {
  napi_value queue, fd_value, name_value;
  if (!succeeded(env, napi_create_object(env, &queue)) || !succeeded(env, napi_create_int32(env, fd, &fd_value)) ||
      !succeeded(env, napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &name_value)) ||
      !succeeded(env, napi_set_named_property(env, queue, "fd", fd_value)) ||
      !succeeded(env, napi_set_named_property(env, queue, "name", name_value))) {
    return NULL;
  }
  return queue;
}

napi_value open_queue(napi_env env, napi_callback_info info) {
  napi_value argument;
  struct queue_options options = {0};
  if (!arguments(env, info, 1, &argument) || !read_options(env, argument, &options)) return NULL;

  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    throw_open_error(env, errno);
    return NULL;
  }
  struct ifreq request = {0};
  strcpy(request.ifr_name, options.name);
  request.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | (options.vnet_hdr ? IFF_VNET_HDR : 0) |
                              (options.multi_queue ? IFF_MULTI_QUEUE : 0) | (options.exclusive ? IFF_TUN_EXCL : 0));
  if (ioctl(fd, TUNSETIFF, &request) != 0) {
    int error = errno;
    close(fd);
    throw_attach_error(env, error, &options);
    return NULL;
  }
  const char *failed = prepare(fd, &options);
  if (failed != NULL) {
    int error = errno;
    close(fd);
    throw_system_error(env, error, failed, "cannot set up a queue of device '%s'", options.name);
    return NULL;
  }
  napi_value queue = queue_object(env, fd, request.ifr_name);
  if (queue == NULL) close(fd);
  return queue;
}

napi_value set_persist(napi_env env, napi_callback_info info) {
  napi_value values[2];
  int fd;
  bool persist;
  if (!arguments(env, info, 2, values) || !descriptor_argument(env, values[0], &fd) ||
      !boolean_argument(env, values[1], "persist", &persist)) {
    return NULL;
  }
  if (ioctl(fd, TUNSETPERSIST, (unsigned long)persist) != 0) throw_queue_error(env, errno, "TUNSETPERSIST", fd);
  return NULL;
}

napi_value set_offload(napi_env env, napi_callback_info info) {
  napi_value values[2];
  int fd;
  int64_t bits;
  if (!arguments(env, info, 2, values) || !descriptor_argument(env, values[0], &fd) ||
      !integer_argument(env, values[1], "bits", 0, UINT32_MAX, &bits)) {
    return NULL;
  }
  bool accepted = ioctl(fd, TUNSETOFFLOAD, (unsigned long)bits) == 0;
  if (!accepted && errno != EINVAL) {
    throw_queue_error(env, errno, "TUNSETOFFLOAD", fd);
    return NULL;
  }
  return boolean_value(env, accepted);
}

napi_value close_queue(napi_env env, napi_callback_info info) {
  napi_value value;
  int fd;
  if (!arguments(env, info, 1, &value) || !descriptor_argument(env, value, &fd)) return NULL;
  /* Linux has closed the descriptor even where it says EINTR. */
  if (close(fd) != 0 && errno != EINTR) throw_queue_error(env, errno, "close", fd);
  return NULL;
}

bool define_offload(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    uint32_t bit;
  } bits[] = {
      {"CSUM", TUN_F_CSUM},       {"TSO4", TUN_F_TSO4}, {"TSO6", TUN_F_TSO6},
      {"TSO_ECN", TUN_F_TSO_ECN}, {"USO4", TUN_F_USO4}, {"USO6", TUN_F_USO6},
  };
  napi_value offload;
  if (!succeeded(env, napi_create_object(env, &offload))) return false;
  for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
    napi_value bit;
    if (!succeeded(env, napi_create_uint32(env, bits[i].bit, &bit)) ||
        !succeeded(env, napi_set_named_property(env, offload, bits[i].name, bit))) {
      return false;
    }
  }
  return succeeded(env, napi_object_freeze(env, offload)) &&
         succeeded(env, napi_set_named_property(env, exports, "offload", offload));
}
