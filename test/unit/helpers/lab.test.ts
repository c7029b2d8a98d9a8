/** A lab leaves nothing behind, however its process ends. Needs root. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { until } from '../../helpers/until.js';

const LAB = new URL('../../helpers/lab.js', import.meta.url).href;

/** Makes a lab in which a command runs, and tells what there is. */
const PROGRAM = `
  import { Lab } from ${JSON.stringify(LAB)};
  const lab = new Lab();
  const child = lab.spawn(lab.client, 'sleep', ['600']);
  setTimeout(() => {}, 600_000);
  console.log(JSON.stringify({ names: [lab.client, lab.gateway, lab.server], folder: lab.folder, pid: child.pid }));
  END
`;

interface Made {
  names: string[];
  folder: string;
  pid: number;
}

const ENDS: Record<string, { end: string; signal?: NodeJS.Signals; status: number }> = {
  SIGINT: { end: '', signal: 'SIGINT', status: 130 },
  SIGTERM: { end: '', signal: 'SIGTERM', status: 143 },
  SIGHUP: { end: '', signal: 'SIGHUP', status: 129 },
  'an exception': { end: "throw new Error('on purpose');", status: 1 },
  close: { end: 'await lab.close(); process.exit(7);', status: 7 },
};

/** A killed process whose parent is gone stays a zombie until init takes note; it runs no more. */
function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
  } catch {
    return false;
  }
}

for (const [name, { end, signal, status }] of Object.entries(ENDS)) {
  test(`nothing is left of a lab whose process ends by ${name}`, async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM.replace('END', end)], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const ended = once(child, 'close');
    let output = '';
    child.stdout.on('data', (data) => {
      output += data;
      if (signal !== undefined && output.endsWith('\n')) child.kill(signal);
    });
    assert.deepEqual(await ended, [status, null]);
    const { names, folder, pid } = JSON.parse(output) as Made;
    assert.deepEqual([...names.map((space) => `/run/netns/${space}`), folder].filter(existsSync), []);
    await until(() => !isRunning(pid), `the end of ${pid}`);
  });
}
