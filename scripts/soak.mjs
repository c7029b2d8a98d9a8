// The tests that take long: `npm run soak -- [--minutes N]`. A hundred kills of the process, then load with reloads and deaths.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } });
const env = { NAT64D_KILLS: '100', NAT64D_TEST_TIMEOUT_MS: '3600000', ...process.env };
const run = (...args) => spawnSync(process.execPath, args, { cwd: root, env, stdio: 'inherit' }).status ?? 1;

const failed = [
  run('scripts/test.mjs', 'unit/control/pool/journal', 'netns/gateway-crash'),
  run('--enable-source-maps', 'dist-test/bench/main.js', 'endurance', '--minutes', values.minutes),
].some((status) => status !== 0);
process.exit(failed ? 1 : 0);
