// Asks the npm registry for known faults of what a gateway runs with: `node scripts/audit.mjs`. Exit code 1 where there are any;
// a registry that cannot be asked is no fault.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const { stdout } = spawnSync('npm', ['audit', '--omit=dev', '--json'], { cwd: root, encoding: 'utf8' });
let report;
try {
  report = JSON.parse(stdout) ?? {};
} catch {
  report = {};
}
const { vulnerabilities } = report;
if (vulnerabilities === undefined) {
  const reason = report.message ?? report.error?.summary ?? 'no answer';
  console.log(`nat64d: the registry cannot be asked for known faults: ${reason}`);
} else {
  for (const [name, { severity, range, via }] of Object.entries(vulnerabilities)) {
    const titles = via.map((cause) => (typeof cause === 'string' ? `by ${cause}` : cause.title));
    console.log(`${severity}: ${name} ${range}: ${titles.join('; ')}`);
  }
  const count = Object.keys(vulnerabilities).length;
  console.log(`nat64d: ${count} packages with known faults`);
  process.exitCode = count === 0 ? 0 : 1;
}
