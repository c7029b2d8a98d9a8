/** Runs a gateway until it is told to stop: what `nat64d` and `tayga` have in common. */
import type { GatewayConfig } from '../control/config/types.js';
import { Gateway } from '../control/gateway.js';
import { Heartbeat } from '../control/heartbeat.js';
import { goBeforeHelpers } from '../control/helper-threads.js';
import type { OpenedLog } from '../control/log.js';
import { type Notifier, openNotifier, watchdogMs } from '../control/notify.js';
import { EXIT_FAILURE, untilSignal } from './ending.js';

/** How long the test hook holds the main thread. */
const TEST_HOLD_MS = 3000;

export interface ServeOptions {
  readonly config: GatewayConfig;
  readonly log: OpenedLog;
  /** Reads the configuration anew, at SIGHUP. Throws ConfigError. */
  readonly load: () => GatewayConfig;
  /** Called once the gateway serves, before anybody is told so. */
  readonly onServing?: (gateway: Gateway) => Promise<void> | void;
  readonly notifier?: Notifier;
  /** Seconds of the gateway's clock per second; see GatewayOptions. */
  readonly clockRate?: number;
}

/** Reads the configuration again and brings it into force; what is wrong with it is logged, and changes nothing. */
async function reload(gateway: Gateway, { log }: ServeOptions): Promise<void> {
  try {
    await gateway.reloadFile();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    for (const line of message.split('\n')) log.error({ event: 'reload-failed' }, line);
    log.error({ event: 'reload-failed' }, 'the configuration in force stays as it was');
  }
  try {
    await gateway.save();
  } catch (error) {
    log.error({ event: 'save-failed', err: error }, `dynamic.map cannot be written: ${String(error)}`);
  }
}

/** SIGUSR1: log files have been moved away. Without this Node would open its debugger, whoever runs nat64d. */
function reopenLog(log: OpenedLog): void {
  try {
    log.reopen?.();
    log.info({ event: 'log-reopened' }, 'SIGUSR1: the log goes on here');
  } catch (error) {
    log.error({ event: 'log-reopen-failed', err: error }, (error as Error).message);
  }
}

/** Runs the gateway until it is told to stop or cannot go on. Returns the exit code; rejects where it cannot start. */
export async function serve(options: ServeOptions): Promise<number> {
  const { config, log, load, clockRate = 1, notifier = openNotifier(process.env.NOTIFY_SOCKET) } = options;
  const signal = untilSignal(log);
  process.on('SIGUSR1', () => reopenLog(log));
  let started: Gateway | undefined;
  // One that comes before the start is done may be about a file that has changed since it was read.
  let isAsked = false;
  const onHangup = () => {
    isAsked = started === undefined;
    if (started === undefined) return;
    notifier.reloading();
    void reload(started, options).then(() => notifier.notify('READY=1'));
  };
  process.on('SIGHUP', onHangup);
  // Before there is no root any more to find its thread in; and both at once, for who waits for this start waits for both.
  const [heartbeat, gateway] = await Promise.all([
    Heartbeat.start(log, notifier, watchdogMs(process.env)),
    Gateway.start(config, { log, clockRate, load }),
  ]);
  goBeforeHelpers();
  if (process.env.NAT64D_TEST_HOOKS === '1') {
    process.on('SIGUSR2', () => gateway.killWorker(0, 'throw'));
    process.on('SIGALRM', () => gateway.killWorker(0, 'exit'));
    process.on('SIGTTIN', () => gateway.killWorker(0, 'spin'));
    process.on('SIGURG', () => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TEST_HOLD_MS);
    });
  }
  try {
    await options.onServing?.(gateway);
  } catch (error) {
    await gateway.stop();
    await heartbeat.close();
    throw error;
  }
  started = gateway;
  heartbeat.begin();
  notifier.notify('READY=1');
  if (isAsked) onHangup();
  const lost = await Promise.race([signal, gateway.lost]);
  if (lost !== undefined) log.error({ event: 'device-lost' }, `${lost}. Stopping.`);
  notifier.notify('STOPPING=1');
  // There is nothing to read a configuration again for.
  started = undefined;
  await gateway.stop();
  await heartbeat.close();
  return lost === undefined ? 0 : EXIT_FAILURE;
}
