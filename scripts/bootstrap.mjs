// Makes a bare machine ready: Debian packages, npm packages, a build. Uses nothing but Node's own modules,
// because it runs before anything is installed. `node scripts/bootstrap.mjs start|test|demo`.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Debian packages by the command that shows whether they are there. */
const packagesFor = {
  start: { 'g++': 'g++', make: 'make', python3: 'python3', ip: 'iproute2', nft: 'nftables' },
  demo: { ping: 'iputils-ping', curl: 'curl', traceroute: 'traceroute', dig: 'bind9-dnsutils' },
  test: {
    ping: 'iputils-ping',
    curl: 'curl',
    traceroute: 'traceroute',
    dig: 'bind9-dnsutils',
    ethtool: 'ethtool',
  },
};

function onPath(command) {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/local/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function run(command, args, extra = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], ...extra });
  if (result.error) fail(`cannot run ${command}: ${result.error.message}`);
  return result.status ?? 1;
}

function fail(message) {
  console.error(`nat64d: ${message}`);
  process.exit(1);
}

function installDebianPackages(goal) {
  const wanted = { ...packagesFor.start, ...(goal === 'start' ? {} : packagesFor[goal]) };
  const missing = Object.entries(wanted).flatMap(([command, name]) => (onPath(command) ? [] : [name]));
  if (missing.length === 0) return;
  const line = `apt-get install ${missing.join(' ')}`;
  if (!onPath('apt-get'))
    fail(`missing: ${missing.join(' ')}. Install them with your system's package manager.`);
  if (process.getuid() !== 0) fail(`missing: ${missing.join(' ')}. Run as root: ${line}`);
  console.error(`nat64d: installing ${missing.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = [
    '-o',
    'DPkg::Lock::Timeout=120',
    'install',
    '-y',
    '-q',
    '--no-install-recommends',
    ...missing,
  ];
  // A fresh machine has no package lists yet; one that has them does not wait for an update.
  if (run('apt-get', install, { env, stdio: 'ignore' }) === 0) return;
  run('apt-get', ['-o', 'DPkg::Lock::Timeout=120', 'update', '-q'], { env });
  if (run('apt-get', install, { env }) !== 0) fail(`'${line}' failed; its output is above.`);
}

function installNpmPackages() {
  const done = join(root, 'node_modules', '.package-lock.json');
  const wanted = join(root, 'package-lock.json');
  if (existsSync(done) && statSync(done).mtimeMs >= statSync(wanted).mtimeMs) return;
  console.error('nat64d: installing npm packages');
  if (run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']) !== 0)
    fail("'npm ci' failed; see above.");
}

const goal = process.argv[2] ?? 'start';
if (!(goal in packagesFor)) fail(`unknown goal '${goal}': start, test or demo`);
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`Node.js ${process.versions.node} is too old: 20.19 or later is needed`);
}
installDebianPackages(goal);
installNpmPackages();
const build = run(process.execPath, ['scripts/build.mjs', ...(goal === 'start' ? ['--no-tests'] : [])]);
if (build !== 0) fail('the build failed; its output is above.');
