/** A command's way to the gateway, and its way to say what came of it. */
import { ControlClient, ReplyError } from '../../control/control-socket/client.js';
import { printable } from './format.js';

export const DEFAULT_SOCKET = '/run/nat64d/control.sock';

/** At these a command that goes on ends as it should, and leaves a terminal or a file behind as it should be. */
export const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Where a command writes; tests have their own. */
export interface Io {
  out(text: string): void;
  err(text: string): void;
}

export interface GlobalOptions {
  readonly socket: string;
  readonly json: boolean;
}

/** Something to tell the user, and nothing to show a stack of. */
export class CommandError extends Error {}

/**
 * Connects, runs, and disconnects. Rejects with CommandError where no gateway answers, where it answers with an error, and where
 * the connection ends too early.
 * @param helloMs how long a hello is waited for; only tests have other than the default
 */
export async function withGateway<T>(
  socket: string,
  run: (client: ControlClient) => Promise<T>,
  helloMs?: number,
): Promise<T> {
  let client: ControlClient;
  try {
    client = await ControlClient.connect(socket, helloMs);
  } catch (error) {
    throw new CommandError(connectMessage(socket, error as NodeJS.ErrnoException));
  }
  try {
    return await run(client);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    const text = error instanceof Error ? error.message : String(error);
    const shown = text.split('\n').map(printable).join('\n');
    throw new CommandError(error instanceof ReplyError ? shown : `${socket}: ${shown}`);
  } finally {
    client.close();
  }
}

function connectMessage(socket: string, error: NodeJS.ErrnoException): string {
  const start =
    'Start one (systemctl start nat64d), or name the socket of one that runs: --socket FILE (run-dir + /control.sock).';
  if (error instanceof ReplyError) return error.message.split('\n').map(printable).join('\n');
  switch (error.code) {
    case 'ENOENT':
      return `no gateway runs here: there is no ${socket}. ${start}`;
    case 'ECONNREFUSED':
      return `no gateway runs here: ${socket} is left from one that has ended. ${start}`;
    case 'EACCES':
      return `no permission for ${socket}: run this as root, or as a member of the group that control-group names.`;
    default:
      return `${socket}: ${error.message}`;
  }
}
