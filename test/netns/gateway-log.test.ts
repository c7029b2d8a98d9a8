/** A gateway that keeps records of its maps in a file, which is moved away and opened anew at SIGUSR1. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { listenForDatagrams } from '../helpers/datagram-listener.js';
import { CLIENT6, Lab, PUBLIC4, under } from '../helpers/lab.js';
import { until } from '../helpers/until.js';

let lab: Lab;
beforeEach(() => {
  lab = new Lab();
});
afterEach(() => lab.close());

interface Line {
  readonly event: string;
  readonly host?: string;
  readonly ipv4?: string;
  readonly time: number;
}

test('start and end of a map stand in the file, across SIGUSR1; no debugger is opened by it', async () => {
  const file = join(lab.folder, 'nat64d.log');
  const gateway = await lab.startGateway({
    toml: `map-lifetime = 1\n[log]\nmaps = true\ndestination = "file:${file}"\n`,
    isFailing: true,
  });
  const lines = (path: string): Line[] => {
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  };
  const logged = async (path: string, event: string): Promise<Line> => {
    const find = () => lines(path).find((line) => line.event === event);
    await until(
      () => find() !== undefined,
      () => `'${event}' in ${path}: ${lines(path).map((line) => line.event)}`,
      30_000,
    );
    return find()!;
  };
  await logged(file, 'ready');
  await lab.run(lab.client, 'ping', ['-c', '1', '-W', '1', under(PUBLIC4)]);
  const started = await logged(file, 'map-started');
  renameSync(file, `${file}.1`);
  gateway.kill('SIGUSR1');
  await logged(file, 'log-reopened');
  const ended = await logged(file, 'map-ended');
  assert.deepEqual([ended.host, ended.ipv4], [CLIENT6, started.ipv4]);
  assert.ok(ended.time - started.time >= 1000);
  const { pid } = gateway.child;
  const listening = readFileSync(`/proc/${pid}/net/tcp`, 'utf8');
  assert.doesNotMatch(listening, /0100007F:240D/, "9229 is the debugger's");
  assert.equal(await gateway.stop(), 0);
  assert.deepEqual(gateway.events('ready'), [], 'nothing on standard output');
  assert.equal(lines(file).at(-1)?.event, 'stopped');
});

test('destination syslog: lines go to /dev/log with the severity of their level, and none to standard output', async () => {
  const dev = join(lab.folder, 'dev');
  const socket = join(lab.folder, 'log');
  const syslogd = await listenForDatagrams(socket);
  const gateway = await lab.startGateway({
    toml: '[log]\ndestination = "syslog"\npackets = ["dyn"]\nassignment-level = "warn"\n',
    isFailing: true,
    // A /dev with a syslogd in it: this machine's may have none.
    setUp: `mkdir ${dev} && mount --rbind /dev ${dev} && mount -t tmpfs tmpfs /dev && ln -s ${dev}/* /dev && ln -sfn ${socket} /dev/log`,
  });
  const told = async (line: RegExp) => {
    let lines: string[] = [];
    await until(
      async () => {
        lines = await syslogd.received(0);
        return lines.some((text) => line.test(text));
      },
      () => `${line} in ${lines} ${gateway.output}`,
      30_000,
    );
  };
  const name = `nat64d\\[${gateway.pid}\\]: `;
  await told(new RegExp(`^<30>${name}serving `));
  assert.ok(await lab.pings());
  await told(new RegExp(`^<28>${name}${CLIENT6} is now 10\\.64\\.`));
  lab.configure('[log]\ndestination = "syslog"\npackets = ["drop"]\npacket-level = "warn"\n');
  gateway.kill('SIGHUP');
  await told(new RegExp(`^<30>${name}.*read again`));
  assert.ok(!(await lab.pings(under('224.0.0.1'))));
  await told(new RegExp(`^<28>${name}drop: ${CLIENT6} to `));
  lab.configure('workers = 99\n[log]\ndestination = "syslog"\n');
  gateway.kill('SIGHUP');
  await told(new RegExp(`^<27>${name}.*workers: `));
  assert.equal(await gateway.stop(), 0);
  await told(new RegExp(`^<30>${name}stopped`));
  await syslogd.close();
  assert.deepEqual(gateway.output, []);
});

test('at its most talkative the log has no token: not of requests, of reloads, nor of files that are refused', async () => {
  const [one, other] = ['first-0123456789abcdef', 'other-0123456789abcdef'];
  const toml = (token: string, top = '') => `${top}[http]\ntoken = "${token}"\n[log]\nlevel = "trace"\n`;
  const gateway = await lab.startGateway({ toml: toml(one) });
  const ask = async (...words: string[]) => {
    const args = ['-s', '-o', join(lab.folder, 'reply'), '-w', '%{http_code}', ...words];
    return (await lab.run(lab.gateway, 'curl', args)).stdout;
  };
  const page = 'http://127.0.0.1:6464';
  assert.equal(await ask('-H', `Authorization: Bearer ${one}`, `${page}/metrics`), '200');
  assert.equal(await ask('-u', `x:${other}`, `${page}/`), '401');
  assert.equal(await ask(`${page}/?token=${one}`), '401');
  lab.configure(toml(other));
  gateway.kill('SIGHUP');
  assert.deepEqual((await gateway.waitFor('reloaded')).changed, ['http.token']);
  for (const [index, bad] of [toml(`${one}" `), toml(one, 'user = "daemon"\n')].entries()) {
    lab.configure(bad);
    gateway.kill('SIGHUP');
    await until(
      () => gateway.lines.filter(({ msg }) => /stays as it was/.test(msg)).length > index,
      () => `a refusal in ${gateway.output.join('\n')}`,
      30_000,
    );
  }
  assert.equal(await gateway.stop(), 0);
  const said = gateway.output.join('\n');
  for (const token of [one, other]) assert.ok(!said.includes(token), said);
});
