/** nat64ctl against a control socket: tables, JSON, errors with what to do, completion and manual page. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { bashCompletion } from '#nat64d/cli/ctl/completion.js';
import { formatAnything, formatDuration, formatRate, formatTable } from '#nat64d/cli/ctl/format.js';
import { buildProgram } from '#nat64d/cli/ctl/program.js';
import { CommandError, withGateway } from '#nat64d/cli/ctl/session.js';
import { drawTop, type TopEvent } from '#nat64d/cli/ctl/top.js';
import { encodeMessage } from '#nat64d/control/control-socket/protocol.js';
import type { Dns64 } from '#nat64d/control/dns64/index.js';
import { SocketLab } from '../../helpers/socket-lab.js';
import { TestSubject } from '../../helpers/subject.js';

const CLI = fileURLToPath(new URL('../../../../dist/bin/nat64ctl.js', import.meta.url));
const HOST = '2001:db8:1::2';

let lab: SocketLab;
beforeEach(() => {
  lab = new SocketLab();
});
afterEach(() => lab.close());

/** Runs a command in this process; resolves with what it printed. */
async function ctl(...args: string[]): Promise<string> {
  let text = '';
  const take = (more: string) => {
    text += more;
  };
  const io = { out: take, err: take };
  await buildProgram(io).parseAsync(['node', 'nat64ctl', '--socket', lab.path, ...args]);
  return text;
}

async function serve(toml = '', dns64: object = {}): Promise<TestSubject> {
  const subject = new TestSubject(toml, dns64 as Partial<Dns64>);
  await lab.open(subject);
  return subject;
}

function program(): Command {
  return buildProgram({ out: () => {}, err: () => {} });
}

test('status is a table for people and an object for programs', async () => {
  const subject = await serve();
  subject.assign(HOST);
  const text = await ctl('status');
  assert.match(text, /^pref64 +64:ff9b:1::\/96$/m);
  assert.match(text, /^pool +10\.64\.0\.0\/16: 1 live of 65,533 \(0\.0 %\), 0 at rest, 65,532 free$/m);
  assert.match(text, /^v6-to-v4 +0 b\/s, 0 frames\/s$/m);
  assert.equal((JSON.parse(await ctl('status', '--json')) as { pref64: string }).pref64, '64:ff9b:1::/96');
});

test('whatever answers instead of a gateway, there is a message and no stack', async () => {
  mkdirSync(dirname(lab.path), { recursive: true });
  for (const [answer, pattern] of [
    [() => {}, /says nothing.*0\.1 s/],
    [(socket: Socket) => void socket.end(), /closed the connection/],
    [(socket: Socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n'), /too long/],
    [
      // Says hello, and ends in the middle of the reply.
      (socket: Socket) =>
        void socket.end(
          Buffer.concat([encodeMessage({ hello: 'nat64d', protocol: 1 }), Buffer.of(0, 0, 0, 9, 1)]),
        ),
      /closed the connection/,
    ],
  ] as const) {
    const server = createServer((socket) => {
      socket.on('error', () => {}).resume();
      answer(socket);
    }).listen(lab.path);
    await once(server, 'listening');
    await assert.rejects(
      withGateway(lab.path, (client) => client.request('status'), 100),
      (error) => error instanceof CommandError && pattern.test(error.message),
    );
    await new Promise((resolve) => server.close(resolve));
  }
});

test('maps: sorted by each key, of a host only, as JSON', async () => {
  const subject = await serve('[[map]]\nipv4 = "198.51.100.8"\nipv6 = "2001:db8:9::8"\n');
  subject.assign('2001:db8:1::2');
  subject.nowSec += 100;
  subject.assign('2001:db8:1::10');
  const hosts = async (...args: string[]) =>
    (JSON.parse(await ctl('maps', '--json', ...args)) as { ipv6: string }[]).map(({ ipv6 }) => ipv6);
  assert.deepEqual(await hosts('--sort', 'ipv6'), ['2001:db8:1::2', '2001:db8:1::10', '2001:db8:9::8']);
  assert.deepEqual(await hosts('--sort', 'used'), ['2001:db8:1::10', '2001:db8:1::2', '2001:db8:9::8']);
  assert.deepEqual(await hosts('--sort', 'ends'), ['2001:db8:1::2', '2001:db8:1::10', '2001:db8:9::8']);
  assert.equal((await hosts('--sort', 'ipv4')).at(-1), '2001:db8:9::8');
  assert.deepEqual(await hosts('--host', '2001:db8:9::/64'), ['2001:db8:9::8']);
  const lines = (await ctl('maps', '--sort', 'used')).split('\n');
  assert.match(lines[0] as string, /^IPv4 +IPv6 +state +last used +ends in$/);
  assert.match(lines[2] as string, /^10\.64\.\d+\.\d+ +2001:db8:1::2 +live +1 min 40 s ago +2 h 2 min$/);
  assert.match(lines[3] as string, /^198\.51\.100\.8 +2001:db8:9::8 +explicit +- +-$/);
});

test('map show, pin, drop', async () => {
  const subject = await serve();
  subject.assign(HOST);
  assert.match(await ctl('map', 'show', HOST), /2001:db8:1::2 +live/);
  assert.match(await ctl('map', 'pin', HOST), /\[\[map\]\]\nipv4 = "10\.64\..*"\nipv6 = "2001:db8:1::2"\n$/);
  assert.match(await ctl('maps'), /pinned/);
  assert.match(await ctl('map', 'pin', '--off', HOST), /as long as it is in use/);
  assert.match(await ctl('map', 'drop', HOST), /^2001:db8:1::2 has 10\.64\..* no more\n$/);
  await assert.rejects(ctl('map', 'show', HOST), /has no map; 'nat64ctl trace 2001:db8:1::2' tells/);
});

test('counters: those that count, all, and what has changed', async () => {
  const subject = await serve();
  assert.equal(await ctl('counters'), 'nothing has been counted yet\n');
  subject.counters['drop-ttl'] = 1234;
  assert.equal(await ctl('counters'), 'counter   value\ndrop-ttl  1,234\n');
  assert.match(await ctl('counters', '--all'), /^frames-in-v6 +0$/m);
  const counting = setInterval(() => {
    subject.counters['drop-ttl'] = (subject.counters['drop-ttl'] ?? 0) + 1;
  }, 5);
  const watched = await ctl('counters', '--watch', '0.2', '--count', '2');
  clearInterval(counting);
  assert.equal(watched.match(/^drop-ttl +1,\d+ +\d+ \/s$/gm)?.length, 2);
});

test('workers', async () => {
  await serve();
  assert.match(await ctl('workers'), /^ *0 +runs +5 s +0 +0 +0 +0 +0 +0$/m);
});

test('dns: what it answers is shown whatever it is; what a terminal would obey is not', async () => {
  await serve('', {
    cacheStats: () => ({ entries: 1, hits: { fresh: 3 } }),
    cacheEntries: () => [{ name: 'a\x1b[2J.example', ttl: 5 }],
    flush: () => 1,
    explain: (name: string, type: string) => [`${name} ${type}: has A only`, 'synthesized'],
  });
  assert.match(await ctl('dns', 'stats'), /^queriesUdp +0$/m);
  assert.equal(
    await ctl('dns', 'cache'),
    'entries  1\nhits:\n  fresh  3\n\nname              ttl\na\\x1b[2J.example    5\n',
  );
  assert.equal(await ctl('dns', 'flush', 'a.example'), '1 entry forgotten\n');
  assert.equal(await ctl('dns', 'explain', 'a.example', 'aaaa'), 'a.example AAAA: has A only\nsynthesized\n');
});

test('reload prints the difference, with and without doing it', async () => {
  const subject = await serve();
  assert.match(await ctl('reload', '--dry-run'), /^f: nothing differs/);
  subject.toml = 'map-lifetime = 60\nrun-dir = "/r"\n';
  assert.equal(
    await ctl('reload', '--dry-run'),
    'f would be refused:\n  map-lifetime: (default) -> 60\n  run-dir: (default) -> "/r"  (needs a restart: it is in use)\nNothing would change: restart to apply all of it, or take back what needs a restart.\n',
  );
  await assert.rejects(ctl('reload'), /f: run-dir cannot change while the gateway runs/);
  subject.toml = 'map-lifetime = 60\nworkers = 3\n';
  const dry = await ctl('reload', '--dry-run');
  assert.equal(
    dry,
    'f would change:\n  map-lifetime: (default) -> 60\n  workers: (default) -> 3\nThis would interrupt nothing.\n',
  );
  assert.equal(subject.reloads.done, 0);
  assert.match(await ctl('reload'), /^f is in force; changed:\n {2}map-lifetime/);
  assert.equal(subject.reloads.done, 1);
  subject.toml = 'nonsense = 1';
  await assert.rejects(ctl('reload'), /^Error: f:1:1: nonsense: there is no such key/);
});

test('trace in words', async () => {
  const subject = await serve();
  subject.assign(HOST);
  const text = await ctl('trace', HOST, '64:ff9b:1::192.0.2.1');
  assert.match(text, /destination 64:ff9b:1::c000:201: stands for 192\.0\.2\.1 under pref64/);
  assert.match(text, /=> translated: from 10\.64\.\d+\.\d+ to 192\.0\.2\.1\n$/);
  assert.match(await ctl('trace', '2001:db8:7::7'), /held until it has an address of 10\.64\.0\.0\/16/);
  await assert.rejects(ctl('trace', 'example.com'), /is not an address/);
});

test('log level', async () => {
  const subject = await serve();
  assert.equal(await ctl('log', 'level', 'warn'), 'log level is warn now; it was info\n');
  assert.equal(subject.logLevel, 'warn');
});

test('check needs no gateway', async () => {
  const file = join(lab.folder, 'c.toml');
  writeFileSync(file, 'workers = 2\n');
  assert.equal(await ctl('check', file), `${file}: fine\n`);
  writeFileSync(file, 'workerz = 2\n');
  await assert.rejects(
    ctl('check', file),
    /c\.toml:1:1: workerz: there is no such key; did you mean 'workers'\?/,
  );
});

test('top --batch prints screens', async () => {
  await serve();
  const { status, stdout } = await run('top', '--batch', '--count', '2', '--delay', '0.2');
  assert.equal(status, 0);
  assert.equal(stdout.match(/^nat64d .* on nat64, up/gm)?.length, 2);
  assert.match((await run('top')).stderr, /top needs a terminal/);
});

/** Runs the program itself; its gateway is in this process, so this must not block. */
async function run(...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [CLI, '--socket', lab.path, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => {
    stdout += data;
  });
  child.stderr.on('data', (data) => {
    stderr += data;
  });
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { status, stdout, stderr };
}

test('exit codes: 0 fine, 1 failure, 2 usage', async () => {
  await serve();
  assert.equal((await run('workers')).status, 0);
  assert.equal((await run('--help')).status, 0);
  assert.equal((await run('map', 'show', HOST)).status, 1);
  const usage = await run('maps', '--sort', 'nonsense');
  assert.equal(usage.status, 2);
  assert.match(usage.stderr, /Allowed choices are ipv4, ipv6, used, ends/);
  assert.equal((await run('no-such-command')).status, 2);
  assert.equal((await run('map', 'show')).status, 2);
});

test('where no gateway runs, that is said, with what to do', async () => {
  await assert.rejects(ctl('status'), (error: Error) => {
    assert.ok(error instanceof CommandError);
    return /no gateway runs here: there is no .*control\.sock\. Start one/.test(error.message);
  });
});

test('what answers and is no gateway is not waited for', async () => {
  mkdirSync(dirname(lab.path));
  const server = createServer((socket) => socket.resume().end('220 ready to serve\r\n'));
  await new Promise<void>((resolve) => server.listen(lab.path, resolve));
  await assert.rejects(ctl('status'), CommandError);
  await new Promise((resolve) => server.close(resolve));
});

/** Every command with the words that lead to it. */
function commands(command: Command, path = ''): [string, Command][] {
  return command.commands.flatMap((sub): [string, Command][] => {
    const words = `${path}${sub.name()}`;
    return [[words, sub], ...commands(sub, `${words} `)];
  });
}

test('the manual page that the build wrote has every command, argument and option, each with its description', () => {
  const page = readFileSync(join(dirname(CLI), '..', 'man', 'nat64ctl.8'), 'utf8').replaceAll('\\-', '-');
  for (const option of program().options) assert.ok(page.includes(`.B ${option.flags}\n`), option.flags);
  for (const [words, command] of commands(program())) {
    if (command.commands.length > 0) continue;
    const heading = new RegExp(`^\\.SS ${words}(?= |$).*`, 'm').exec(page)?.[0];
    assert.ok(heading, words);
    for (const argument of command.registeredArguments) assert.ok(heading.includes(argument.name()), words);
    assert.ok(page.toLowerCase().includes(command.description().toLowerCase()), words);
    for (const { flags } of command.options) assert.ok(page.includes(`.B ${flags}\n`), `${words} ${flags}`);
  }
});

test('bash completes commands, options and their values', () => {
  const script = bashCompletion(program());
  const complete = (...words: string[]) => {
    const line = `COMP_WORDS=(nat64ctl ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; _nat64ctl; echo "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', `${script}\n${line}`], { encoding: 'utf8' });
    assert.equal(stderr, '');
    return stdout.trim().split(' ');
  };
  assert.deepEqual(complete('st'), ['status']);
  assert.deepEqual(complete('map', ''), ['show', 'drop', 'pin', '--help']);
  assert.deepEqual(complete('map', 'pin', '--o'), ['--off']);
  assert.deepEqual(complete('maps', '--sort', 'u'), ['used']);
  assert.deepEqual(complete('--json', 'log', 'level', 'd'), ['debug']);
  for (const [words] of commands(program()))
    assert.ok(
      complete(...words.split(' ').slice(0, -1), '').includes(words.split(' ').at(-1) as string),
      words,
    );
});

test('top fits its screen, with and without colour', () => {
  const counters = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`drop-${i}`, i]));
  const throughput = { framesPerSec: 1e6, bitsPerSec: 12.34e9 };
  const event = {
    status: {
      version: '1',
      device: 'nat64',
      uptimeSec: 90_061,
      workers: { count: 2, running: 2, restarts: 0 },
      throughput: { v6ToV4: throughput, v4ToV6: throughput },
      pool: null,
      explicitMaps: 0,
    },
    counters,
    dns64: { queriesUdp: 30, pending: 1 },
    activeHosts: 3,
    busiestHosts: [
      {
        ipv6: '2001:db8::7',
        ipv4: '10.64.0.9',
        v6ToV4: throughput,
        v4ToV6: { framesPerSec: 0, bitsPerSec: 0 },
      },
    ],
  } as unknown as TopEvent;
  const before = { ...event, counters: { ...counters, 'drop-7': 0 }, dns64: { queriesUdp: 10 } };
  const lines = drawTop(event, before, 2, { columns: 60, rows: 20, hasColour: false });
  assert.equal(lines.length, 20);
  assert.ok(lines.every((line) => line.length <= 60 && !line.includes('\x1b')));
  assert.equal(lines[1], 'v6-to-v4  12.3 Gb/s, 1.00 Mframes/s');
  assert.match(lines[4] as string, /^DNS {7}10 queries\/s/);
  assert.match(lines[6] as string, /^busiest hosts +IPv4 +v6-to-v4 +v4-to-v6 +frame$/);
  assert.match(lines[7] as string, /^2001:db8::7 +10\.64\.0\.9 +12\.3 Gb\/s +0 b\/s/);
  assert.match(lines[10] as string, /^drop-7 +7 +4 \/s$/);
  assert.equal(
    drawTop(event, null, 1, { columns: 20, rows: 20, hasColour: true })[6],
    '\x1b[1mbusiest hosts  IPv4 \x1b[0m',
  );
  assert.deepEqual(drawTop(event, null, 1, { columns: 1, rows: 1, hasColour: false }), ['n']);
});

test('numbers', () => {
  assert.deepEqual(
    [0, 7, 999.4, 1000, 12_345, 999_500, 1e12].map((n) => formatRate(n, 'b/s')),
    ['0 b/s', '7 b/s', '999 b/s', '1.00 kb/s', '12.3 kb/s', '1.00 Mb/s', '1.00 Tb/s'],
  );
  assert.deepEqual([0.4, 7, 60, 3661, 86_400 * 3 + 7].map(formatDuration), [
    '0 s',
    '7 s',
    '1 min',
    '1 h 1 min',
    '3 d',
  ]);
  assert.equal(
    formatTable(
      ['a', 'bb'],
      [
        ['x', '1'],
        ['yy', '22'],
      ],
    ),
    'a   bb\nx    1\nyy  22\n',
  );
  assert.equal(formatAnything({ a: [], b: null, c: [1, 2] }), 'b  -\na:\n  none\nc:\n  1\n  2\n');
});
