/** sd_notify: tells systemd, or who else asked by NOTIFY_SOCKET, what state the service is in. */
import native from '#native';

export interface Notifier {
  /** Lines as sd_notify(3) has them: READY=1, RELOADING=1, STOPPING=1, STATUS=…. */
  notify(state: string): void;
}

/** Opened at the start: after a change of root the socket could not be found. Without NOTIFY_SOCKET nobody is told. */
export function openNotifier(socket: string | undefined): Notifier {
  // An empty name, or one that is neither a path nor abstract, is for no socket of this kind.
  if (socket === undefined || !/^[@/]./.test(socket)) return { notify: () => {} };
  let fd: number;
  try {
    fd = native.openDatagram(socket);
  } catch {
    return { notify: () => {} };
  }
  return {
    notify: (state) => {
      native.sendDatagram(fd, Buffer.from(state));
    },
  };
}
