/** On a directory in place of /proc/sys: no value changes along with another, as the kernel's do (see test/netns). */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { NetdevLog } from '#nat64d/control/netdev/command.js';
import {
  enableForwarding,
  forwardingOff,
  restoreSysctls,
  sysctlFile,
} from '#nat64d/control/netdev/sysctl.js';

const VALUES: Readonly<Record<string, string>> = {
  'net/ipv4/conf/all/forwarding': '0',
  'net/ipv4/conf/default/forwarding': '0',
  'net/ipv4/conf/eth0.100/forwarding': '0',
  'net/ipv4/conf/all/accept_redirects': '0',
  'net/ipv6/conf/all/forwarding': '0',
  'net/ipv6/conf/default/forwarding': '0',
  'net/ipv6/conf/eth0.100/forwarding': '0',
  'net/ipv6/conf/eth0.100/accept_ra': '1',
  'net/ipv6/conf/eth1/forwarding': '1',
  'net/ipv6/conf/eth1/accept_ra': '0',
};

let top = '';
let root = '';
let runDir = '';
let warnings: string[] = [];
const ignore = () => {};
const log: NetdevLog = { debug: ignore, info: ignore, error: ignore, warn: (text) => warnings.push(text) };

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'nat64d-sysctl-'));
  root = join(top, 'sys');
  runDir = join(top, 'not', 'there', 'yet');
  warnings = [];
  for (const [path, value] of Object.entries(VALUES)) set(path, value);
});

afterEach(() => rmSync(top, { recursive: true, force: true }));

function set(path: string, value: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), `${value}\n`);
}

const get = (path: string) => readFileSync(join(root, path), 'utf8').trim();
const values = () => Object.fromEntries(Object.keys(VALUES).map((path) => [path, get(path)]));
const enable = (raDevices: readonly string[] = []) => enableForwarding(runDir, 'nat64', raDevices, log, root);

test('turns forwarding on, accept_ra first, and names every value as sysctl does', () => {
  assert.deepEqual(forwardingOff(root), ['net.ipv4.conf.all.forwarding', 'net.ipv6.conf.all.forwarding']);
  assert.deepEqual(enable(['eth0.100', 'eth1', 'gone0']), [
    'net.ipv4.conf.all.forwarding = 1 (was 0)',
    'net/ipv6/conf/eth0.100/accept_ra = 2 (was 1)',
    'net.ipv6.conf.all.forwarding = 1 (was 0)',
  ]);
  assert.deepEqual(forwardingOff(root), []);
  assert.equal(get('net/ipv6/conf/eth1/accept_ra'), '0');
  assert.deepEqual(warnings, []);
});

test('restores, removes the file, and has nothing to do a second time', () => {
  enable(['eth0.100']);
  assert.ok(existsSync(sysctlFile(runDir)));
  assert.equal(restoreSysctls(runDir, log, root).length, 3);
  assert.deepEqual(values(), VALUES);
  assert.ok(!existsSync(sysctlFile(runDir)));
  assert.deepEqual(restoreSysctls(runDir, log, root), []);
});

test('restores what this process has changed, though somebody has removed the run directory meanwhile', () => {
  enable(['eth0.100']);
  rmSync(runDir, { recursive: true });
  assert.equal(restoreSysctls(runDir, log, root).length, 3);
  assert.deepEqual(values(), VALUES);
  assert.deepEqual(restoreSysctls(runDir, log, root), []);
  assert.deepEqual(warnings, []);
});

test('changes nothing and keeps no file where forwarding is on', () => {
  set('net/ipv4/conf/all/forwarding', '1');
  set('net/ipv6/conf/all/forwarding', '1');
  assert.deepEqual(enable(['eth0.100']), []);
  assert.ok(!existsSync(sysctlFile(runDir)));
  assert.equal(get('net/ipv6/conf/eth0.100/accept_ra'), '1');
});

test('IPv4 forwarding on, but not for new devices: our own gets it', () => {
  set('net/ipv4/conf/all/forwarding', '1');
  set('net/ipv6/conf/all/forwarding', '1');
  set('net/ipv4/conf/nat64/forwarding', '0');
  assert.deepEqual(enable(), ['net.ipv4.conf.nat64.forwarding = 1 (was 0)']);
  restoreSysctls(runDir, log, root);
  assert.equal(get('net/ipv4/conf/nat64/forwarding'), '0');
});

test('a value that someone changed since stays', () => {
  enable(['eth0.100']);
  set('net/ipv6/conf/eth0.100/accept_ra', '0');
  set('net/ipv4/conf/all/forwarding', '0');
  set('net/ipv6/conf/eth1/forwarding', '0');
  restoreSysctls(runDir, log, root);
  assert.equal(get('net/ipv6/conf/eth0.100/accept_ra'), '0');
  assert.equal(get('net/ipv4/conf/all/forwarding'), '0');
  assert.equal(get('net/ipv6/conf/all/forwarding'), '0');
  assert.equal(get('net/ipv6/conf/eth1/forwarding'), '0');
});

test('an interface that came later loses what it inherited; one that has gone is no failure', () => {
  enable();
  set('net/ipv6/conf/default/forwarding', '1'); // as the kernel does with `all`
  set('net/ipv6/conf/late0/forwarding', '1');
  rmSync(join(root, 'net/ipv6/conf/eth1'), { recursive: true });
  restoreSysctls(runDir, log, root);
  assert.equal(get('net/ipv6/conf/late0/forwarding'), '0');
  assert.deepEqual(warnings, []);
  assert.ok(!existsSync(join(root, 'net/ipv6/conf/eth1')));
});

test('originals of another boot are discarded', () => {
  enable();
  const kept = JSON.parse(readFileSync(sysctlFile(runDir), 'utf8')) as { where: string };
  writeFileSync(sysctlFile(runDir), JSON.stringify({ ...kept, where: 'another boot net:[1]' }));
  assert.deepEqual(restoreSysctls(runDir, log, root), []);
  assert.equal(get('net/ipv6/conf/all/forwarding'), '1');
  assert.ok(!existsSync(sysctlFile(runDir)));
});

test('a file that is damaged, or points outside net/, is a warning', () => {
  mkdirSync(runDir, { recursive: true });
  for (const text of [
    '{"where":',
    JSON.stringify({ where: '', changes: [{ path: '../etc/x', original: '', set: '' }] }),
  ]) {
    warnings = [];
    writeFileSync(sysctlFile(runDir), text);
    assert.deepEqual(restoreSysctls(runDir, log, root), []);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] as string, /sysctl\.json/);
  }
});

test('without a run directory to keep the originals in, nothing is changed', () => {
  writeFileSync(join(top, 'not'), 'a file');
  assert.throws(() => enable(), { name: 'NetdevError', code: 'RUN_DIR' });
  assert.deepEqual(values(), VALUES);
});
