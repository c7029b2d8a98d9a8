/**
 * Runs the device set-up inside the network namespace it is started in: `netdev-child.js configure|recover FILE`, FILE with settings as JSON.
 * Prints one JSON object a line: log messages as they come, then `{ ready, summary }` or `{ failed, message }`.
 * Waits for SIGTERM, and takes down then; SIGINT does nothing, so that a test can send it to the whole process group.
 */
import { readFileSync } from 'node:fs';
import {
  configureNetdev,
  type NetdevError,
  type NetdevSettings,
  recoverSysctls,
} from '#nat64d/control/netdev/index.js';

const print = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
const log = {
  debug: (message: string) => print({ level: 'debug', message }),
  info: (message: string) => print({ level: 'info', message }),
  warn: (message: string) => print({ level: 'warn', message }),
  error: (message: string) => print({ level: 'error', message }),
};

const settings = JSON.parse(readFileSync(process.argv[3] as string, 'utf8')) as NetdevSettings;
process.on('SIGINT', () => print({ level: 'debug', message: 'SIGINT' }));

if (process.argv[2] === 'recover') {
  await recoverSysctls(settings.runDir, log);
  print({ ready: true, summary: [] });
} else {
  try {
    const netdev = await configureNetdev(settings, log);
    const forever = setInterval(() => {}, 1 << 30);
    process.once('SIGTERM', async () => {
      await Promise.all([netdev.restore(), netdev.restore()]);
      await netdev.restore();
      clearInterval(forever);
    });
    print({ ready: true, summary: netdev.summary });
  } catch (error) {
    print({ failed: (error as NetdevError).code, message: (error as Error).message });
  }
}
