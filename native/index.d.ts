/**
 * What Node lacks: multi-queue TUN devices with virtio-net headers, batched reads and writes on shared memory, batched UDP,
 * and readiness on the event loop of the thread that asked. Knows nothing of NAT64.
 *
 * Every failure is an Error with `code` ('EPERM'), `errno` (positive number), `syscall` ('TUNSETIFF') and a message that says what to do.
 * A wrong argument is a TypeError (ERR_INVALID_ARG_TYPE) or RangeError (ERR_OUT_OF_RANGE), a detached array one without
 * room. No call blocks, but for `wait` up to a millisecond. What Linux does where a device is down or gone: README.md.
 */

export = native;

declare namespace native {
  /** There is no addon for this machine: what every function throws. */
  const absence: Error | undefined;

  /** An Error thrown for a failed system call. */
  interface SystemError extends Error {
    code: string;
    errno: number;
    syscall: string;
  }

  interface QueueOptions {
    /** Interface name, at most 15 bytes; may hold `%d` for the kernel to number. */
    name: string;
    /** Ask for IFF_MULTI_QUEUE. A device made without it refuses (EINVAL), and the other way round. */
    multiQueue: boolean;
    /** Ask for IFF_VNET_HDR: a 10-byte virtio-net header, little-endian, before each frame. */
    vnetHdr: boolean;
    /** Ask for IFF_TUN_EXCL: fail with EBUSY where a device of this name exists. */
    exclusive: boolean;
    /** Who may attach further queues (TUNSETOWNER, TUNSETGROUP). Always set: otherwise any user may. */
    owner: number;
    group: number;
  }

  interface Queue {
    /** Non-blocking and close-on-exec. */
    fd: number;
    /** The name the kernel gave. */
    name: string;
  }

  /**
   * Opens one queue of a TUN device (IFF_TUN | IFF_NO_PI), and makes the device if there is none. `owner` and `group` apply
   * to the whole device; `vnetHdr` too, but only where no other queue is open: open all queues of a device alike.
   */
  function openQueue(options: QueueOptions): Queue;

  /** TUNSETPERSIST: whether the device outlives its last queue. */
  function setPersist(fd: number, persist: boolean): void;

  /** The TUN_F_* bits. */
  const offload: {
    readonly CSUM: number;
    readonly TSO4: number;
    readonly TSO6: number;
    readonly TSO_ECN: number;
    readonly USO4: number;
    readonly USO6: number;
  };

  /**
   * TUNSETOFFLOAD, for all queues of the device. False where this kernel does not know one of the bits (EINVAL); throws on
   * anything else.
   */
  function setOffload(fd: number, bits: number): boolean;

  /**
   * TUNSETSTEERINGEBPF, for all queues of the device: both directions of a flow go to one of the `count` queues from `first` on (in the
   * order in which they were opened, modulo the number of open ones), whose number follows from the ports of TCP and UDP and from
   * `remoteBits` (0, 8, 16, 24 or 32) of an IPv4 address: the first of an IPv4 packet's source, and those at byte `remoteAt` of an IPv6
   * packet's destination. `secret` (32 bits) keeps others from choosing queues. In the place of a program before it in one step.
   * False where this kernel, or a lack of CAP_BPF, does not let us; throws on anything else.
   */
  function setSteering(
    fd: number,
    remoteAt: number,
    remoteBits: number,
    secret: number,
    first: number,
    count: number,
  ): boolean;

  /** Gives the choice of queues back to the kernel. */
  function clearSteering(fd: number): void;

  /** Closes a descriptor. Stop its Poller first: the number may be in use again at once. */
  function closeQueue(fd: number): void;

  interface LinkState {
    /** Somebody has set it up, and nobody down. */
    up: boolean;
    /** Bytes. */
    mtu: number;
  }

  /** The state of an interface of this network namespace; null where there is none of this name (at most 15 bytes). Needs no privileges. */
  function linkState(name: string): LinkState | null;

  /**
   * The addresses of an interface of this network namespace, each as "address/length", whatever its state: Node's own list leaves an
   * interface out until the kernel has found that it runs, a second after a TUN device is opened. Needs no privileges.
   */
  function interfaceAddresses(name: string): string[];

  /** Bytes of the virtio-net header before each frame. */
  const VNET_HDR_BYTES: number;

  /** The largest frame that `read` takes, virtio-net header not counted. */
  const MAX_FRAME_BYTES: number;

  /**
   * Reads until the queue is empty, `maxFrames` are read, or the room between `start` and `end` would not hold a largest frame.
   *
   * Frames are packed one after another. Frame i begins at `frames[2i]` (a multiple of 16) and is `frames[2i + 1]` bytes long.
   * Its virtio-net header lies in the VNET_HDR_BYTES before it, and at least `headroom` bytes before it (header counted) belong
   * to this frame alone. A read shorter than a virtio-net header is skipped. `ring` and `frames` may be on a SharedArrayBuffer.
   * The queue must have been opened with `vnetHdr`, and `headroom` be VNET_HDR_BYTES at least. "A multiple of 16" is as an
   * offset within `ring`.
   *
   * An error after the first frame ends the burst and is thrown by the next call. EBADFD: the device has been deleted.
   *
   * @returns how many frames were read; 0 where the queue was empty.
   */
  function read(
    fd: number,
    ring: Uint8Array,
    start: number,
    end: number,
    headroom: number,
    frames: Int32Array,
    maxFrames: number,
  ): number;

  /**
   * Waits until `fd` is readable or has an error, for at most `timeoutUs` (0 to 1000 microseconds: nothing in this addon holds
   * a thread for longer). Whether it is. For the moments between two frames of a stream, where a round of the event loop would cost more.
   * @param isAwake does not sleep, which saves the time that waking up takes, but looks again and again, and lends the CPU in between to
   * other threads that want it: they may keep it for milliseconds
   */
  function wait(fd: number, timeoutUs: number, isAwake: boolean): boolean;

  /**
   * Writes `count` frames, one write each. `list` holds, for each frame in turn: the number of its pieces (1 to 64), then
   * an offset into `bytes` and a length for each piece; the first piece begins with the virtio-net header.
   *
   * A frame the kernel refuses (EAGAIN, ENOBUFS, EINVAL, EIO of a device that is down, …) is skipped, never tried again:
   * `refused[0]` counts them in this call, `refused[1]` is the last errno, and in the list their numbers of pieces are negated. EBADF, EBADFD (the device has been
   * deleted) and EFAULT are thrown. So is a RangeError for a piece outside of `bytes` or a list that ends early; the frames
   * before that one have then been written, and nothing of that one. A piece may be empty; pieces may overlap.
   *
   * @returns how many frames were written.
   */
  function write(fd: number, bytes: Uint8Array, list: Int32Array, count: number, refused: Int32Array): number;

  /**
   * Sums of 16-bit words in network byte order, folded with end-around carry (RFC 1071, not complemented), over `count`
   * ranges of `bytes`: offset and length of range i at `ranges[2i]`, its sum in `sums[i]`. An odd last byte counts as the
   * upper half of a word. RangeError for a range outside of `bytes`; the sums before it have then been written.
   */
  function sums(bytes: Uint8Array, ranges: Int32Array, count: number, sums: Int32Array): void;

  /**
   * PR_SET_NO_NEW_PRIVS: no program that this thread or its children run gains privileges. Threads that are there already
   * do not have it: call it in a process that only starts another one.
   */
  function setNoNewPrivs(): void;

  /**
   * PR_CAPBSET_DROP: takes every capability from the bounding set of this thread and its children but those whose bits are
   * set in `keep` (1 << number, as a sum; up to 2^53). Takes effect at the next `exec`. EPERM without CAP_SETPCAP.
   */
  function dropBoundingSet(keep: number): void;

  /** PR_SET_KEEPCAPS: this thread keeps its permitted capabilities where the process becomes another user; until the next `exec`. */
  function keepCapabilities(): void;

  /**
   * capset and PR_CAP_AMBIENT: this thread has those of its permitted capabilities whose bits are set in `keep`, and no others;
   * the program that it becomes by `exec` has them too, in all its threads, whoever its user is.
   */
  function setCapabilities(keep: number): void;

  /** Makes a folder the root of the whole process, and its working folder. Node remembers the old one: `process.chdir('/')`. */
  function chroot(path: string): void;

  /** malloc_trim(3): gives free memory of every thread's arena back to the system. Nothing where the C library has no such call. */
  function releaseMemory(): void;

  /**
   * Replaces this program by another in the same process (execve): the same pid, parent and standard streams. Comes back
   * only by an exception. `argv` begins with the name of the program; `env` holds NAME=VALUE.
   */
  function exec(path: string, argv: readonly string[], env: readonly string[]): void;

  interface Ended {
    /** Exit status, or -1 where a signal ended it. */
    status: number;
    /** Number of that signal, or 0. */
    signal: number;
    /** What it said, read as UTF-8. */
    stdout: string;
    stderr: string;
  }

  /**
   * Runs a program until it has closed its standard output and error and ended (posix_spawn, on a thread of libuv's pool: this one
   * is not held up by the size of the process, as by a fork). `argv` begins with the name of the program; `env` holds NAME=VALUE;
   * `input` is what it reads. Rejects where it cannot be started (ENOENT), and where it takes longer than `timeoutMs` (ETIMEDOUT) or
   * says more than half a gigabyte (ENOBUFS): it is killed then, but not what it has started itself.
   */
  function run(
    path: string,
    argv: readonly string[],
    env: readonly string[],
    input: string,
    timeoutMs: number,
  ): Promise<Ended>;

  /**
   * A Unix datagram socket connected to a path, or to an abstract name written with '@' in front (at most 107 bytes).
   * Throws where nobody listens there. Non-blocking, close-on-exec; `closeQueue` closes it.
   */
  function openDatagram(path: string): number;

  /** Sends one datagram. False where the listener has gone or takes no more now. */
  function sendDatagram(fd: number, bytes: Uint8Array): boolean;

  /**
   * Locks an open file or folder for this process alone (flock, advisory), until the descriptor is closed. False where another has it
   * locked. EBADF for a closed descriptor.
   */
  function lock(fd: number): boolean;

  interface UdpOptions {
    /** Four words, most significant first, IPv4 as ::ffff:a.b.c.d: decides the family. An IPv6 socket takes no IPv4. */
    address: Int32Array;
    /** 0: one that the kernel chooses. */
    port: number;
    /** Index of the interface of a link-local address; else 0. */
    scope: number;
    /** Datagrams come with the address they were sent to, and may be sent from one: for a socket bound to all addresses. */
    packetInfo: boolean;
    /** Bytes of the kernel's buffers; 0: its own default. Without CAP_NET_ADMIN its limit may be less. */
    receiveBytes: number;
    sendBytes: number;
  }

  interface UdpSocket {
    /** Non-blocking and close-on-exec; `closeUdp` closes it. */
    fd: number;
    /** The port in use. */
    port: number;
  }

  /** Opens and binds a UDP socket. Believes no ICMP message about the path's MTU: a datagram larger than the link's is cut. */
  function openUdp(options: UdpOptions): UdpSocket;

  /** Binds a socket to one peer: it receives from there only, and errors that ICMP reports come with `receiveBatch`. */
  function connectUdp(fd: number, address: Int32Array, port: number, scope: number): void;

  /** Closes a socket. Stop its Poller first: the number may be in use again at once. */
  function closeUdp(fd: number): void;

  /**
   * Words of a datagram's fields, alike for what comes and what goes:
   *
   *   0       1       2       3     4      5        9      13         14         15
   *   offset  length  family  port  scope  address  local  interface  hop limit  0
   *
   * `address` (the peer's) and `local` are four words each, IPv4 as ::ffff:a.b.c.d; family is 4 or 6. `scope` is the index of
   * the interface where the peer's address is link-local, `interface` of that on which a datagram came. `local` and
   * `interface` are 0 without `packetInfo`. The hop limit is that of what comes in by a socket of `openRouter`; else 0.
   */
  const UDP_FIELDS: number;

  /**
   * Receives up to `maxDatagrams` (64 at most) in one system call. Datagram i is at `i * slotBytes` of `ring`, its fields at
   * `i * UDP_FIELDS` of `fields`. A length above `slotBytes` tells of a datagram that was longer, and of which the end is lost.
   *
   * Errors that ICMP reported (ECONNREFUSED, EHOSTUNREACH, …; of a connected socket only) end nothing: `mishaps[0]` counts them in
   * this call and `mishaps[1]` is the last errno. EBADF and ENOTSOCK are thrown.
   *
   * @returns how many datagrams; 0 where there was none.
   */
  function receiveBatch(
    fd: number,
    ring: Uint8Array,
    slotBytes: number,
    fields: Int32Array,
    maxDatagrams: number,
    mishaps: Int32Array,
  ): number;

  /**
   * Sends `count` datagrams, 64 to a system call: from `bytes`, with the fields of `list`. Family 0 is for a connected socket; then
   * only offset and length count. From `local` if it is not all zero, through `interface` if that is not 0.
   *
   * A datagram that the kernel refuses twice is skipped: the first error may be of an earlier one. Where its buffer is full (EAGAIN), so are the others of
   * the system call. `refused[0]` counts them and `refused[1]` is the last errno. EBADF and ENOTSOCK are thrown. So is a RangeError for
   * a datagram outside of `bytes`, or of another family or port than there are; those before it have then been sent.
   *
   * @returns how many datagrams the kernel took.
   */
  function sendBatch(
    fd: number,
    bytes: Uint8Array,
    list: Int32Array,
    count: number,
    refused: Int32Array,
  ): number;

  /**
   * A raw ICMPv6 socket on one interface that hears router solicitations (ff02::2 is joined) and router advertisements, those of
   * other programs on this machine included; what it sends has hop limit 255, and is not heard here. For `receiveBatch`, where a datagram is the ICMPv6 message,
   * whose checksum the kernel has checked; and for `sendBatch`, port 0, where the kernel computes it. EPERM without
   * CAP_NET_RAW; ENODEV where there is no such interface. It stays with that interface though another may get its name.
   * Non-blocking, close-on-exec; `closeUdp` closes it.
   */
  function openRouter(interfaceName: string): number;

  /**
   * Calls `onReadable` on this thread's event loop while `fd` is readable (uv_poll, level-triggered). Keeps the loop alive
   * until stopped. When the thread ends first, the poll ends with it and the descriptor stays open.
   * `onReadable` gets an errno where polling failed (0 otherwise): EBADF where the device has been deleted. Polling has then
   * ended, as after `stop`. An error that waits on a socket is no failure: it is called with 0, and `receiveBatch` tells. It runs in the async context of the constructor, with the Poller as `this`; what it throws is an
   * uncaughtException of the thread, and polling goes on if that is handled.
   *
   * A thread may have one Poller for a descriptor (EEXIST); two threads may poll the same one.
   */
  class Poller {
    constructor(fd: number, onReadable: (errno: number) => void);
    /** Idempotent. The callback is not called again after it returns. */
    stop(): void;
  }
}
