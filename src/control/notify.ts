/** sd_notify: tells systemd, or who else asked by NOTIFY_SOCKET, what state the service is in. */
import native from '#native';

export interface Notifier {
  /** Lines as sd_notify(3) has them: READY=1, STOPPING=1, STATUS=…. */
  notify(state: string): void;
  /** RELOADING=1, with the time that Type=notify-reload tells this reload by. READY=1 ends it. */
  reloading(): void;
  /** The descriptor of the socket, for another thread to tell something too; -1 where nobody listens. */
  readonly fd: number;
}

/** Opened at the start: after a change of root the socket could not be found. Without NOTIFY_SOCKET nobody is told. */
export function openNotifier(socket: string | undefined): Notifier {
  const fd = open(socket);
  const notify = (state: string) => {
    if (fd >= 0) native.sendDatagram(fd, Buffer.from(state));
  };
  return {
    fd,
    notify,
    // Node's hrtime is CLOCK_MONOTONIC.
    reloading: () => notify(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
  };
}

function open(socket: string | undefined): number {
  // An empty name, or one that is neither a path nor abstract, is for no socket of this kind.
  if (socket === undefined || !/^[@/]./.test(socket)) return -1;
  try {
    return native.openDatagram(socket);
  } catch {
    return -1;
  }
}

/** Milliseconds within which the service manager wants a sign of life from this process, again and again; null where it does not. */
export function watchdogMs({
  WATCHDOG_USEC: usec = '',
  WATCHDOG_PID: pid,
}: NodeJS.ProcessEnv): number | null {
  if (!/^[1-9][0-9]{0,17}$/.test(usec)) return null;
  return pid === undefined || pid === String(process.pid) ? Number(usec) / 1000 : null;
}
