/** What each request answers, over a real socket. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { ControlClient } from '#nat64d/control/control-socket/client.js';
import type { Dns64 } from '#nat64d/control/dns64/index.js';
import type { Difference } from '#nat64d/control/inspect/difference.js';
import type { MapPage, MapView } from '#nat64d/control/inspect/maps.js';
import type { Status } from '#nat64d/control/inspect/status.js';
import { type Prefix6, parsePrefix6 } from '#nat64d/wire/address.js';
import { SocketLab } from '../../../helpers/socket-lab.js';
import { TestSubject } from '../../../helpers/subject.js';

const MAP = '[[map]]\nipv4 = "198.51.100.0/24"\nipv6 = "2001:db8:9::/120"\n';
const HOST = '2001:db8:1::2';

let lab: SocketLab;
beforeEach(() => {
  lab = new SocketLab();
});
afterEach(() => lab.close());

async function serve(
  toml = '',
  dns64: object | null = {},
): Promise<{ subject: TestSubject; client: ControlClient }> {
  const subject = new TestSubject(toml, dns64 as Partial<Dns64> | null);
  await lab.open(subject);
  return { subject, client: await lab.client() };
}

test('status: what runs, the pool, DNS64, and what passes in a second', async () => {
  const { subject, client } = await serve(MAP);
  subject.assign(HOST);
  const counting = setInterval(() => {
    subject.counters['frames-in-v6'] = (subject.counters['frames-in-v6'] ?? 0) + 10;
    subject.counters['bytes-in-v6'] = (subject.counters['bytes-in-v6'] ?? 0) + 1000;
    subject.counters['drop-ttl'] = (subject.counters['drop-ttl'] ?? 0) + 1;
  }, 10);
  const status = (await client.request('status')) as Status;
  clearInterval(counting);
  assert.equal(status.pref64, '64:ff9b:1::/96');
  assert.equal(status.explicitMaps, 1);
  assert.deepEqual(status.pool, {
    pool4: '10.64.0.0/16',
    capacity: 65536 - 3,
    free: 65536 - 4,
    live: 1,
    dormant: 0,
    pinned: 0,
    lifetimeSec: 7440,
  });
  assert.deepEqual(status.dns64, {
    pref64s: ['64:ff9b:1::/96'],
    listening: ['[::1]:53'],
    forwarders: [],
    failures: [],
  });
  assert.equal(status.coalescing, 'tcp');
  assert.deepEqual(status.workers, { count: 1, running: 1, restarts: 0 });
  const { v6ToV4, v4ToV6, dropsPerSec } = status.throughput;
  assert.ok(v6ToV4.framesPerSec > 0 && dropsPerSec > 0);
  assert.ok(Math.abs(v6ToV4.bitsPerSec / v6ToV4.framesPerSec - 800) < 1e-6);
  assert.equal(v4ToV6.framesPerSec, 0);
});

test('maps: in pages that together hold every one once, explicit ones first', async () => {
  const { subject, client } = await serve(`pool4 = "10.64.0.0/20"\nmax-maps-per-64 = 0\n${MAP}`);
  const hosts = Array.from({ length: 2500 }, (_, i) => `2001:db8::${(i + 1).toString(16)}`);
  for (const host of hosts) subject.assign(host);
  const maps: MapView[] = [];
  let pages = 0;
  for (let from: string | null = null; ; pages++) {
    const page = (await client.request('maps', { from })) as MapPage;
    maps.push(...page.maps);
    from = page.next;
    if (from === null) break;
  }
  assert.equal(pages, 2);
  assert.deepEqual(maps[0], {
    kind: 'explicit',
    ipv4: '198.51.100.0/24',
    ipv6: '2001:db8:9::/120',
    idleSec: null,
    endsInSec: null,
    isPinned: false,
  });
  assert.deepEqual(
    maps
      .slice(1)
      .map(({ ipv6 }) => ipv6)
      .sort(),
    [...hosts].sort(),
  );
});

test('maps of a host, of a network, and of an address of either family', async () => {
  const { subject, client } = await serve(MAP);
  const hosts = [HOST, '2001:db8:2::3', '2001:db8:2::4'];
  for (const host of hosts) subject.assign(host);
  const of = async (host: string) =>
    ((await client.request('maps', { host })) as MapPage).maps.map(({ ipv6 }) => ipv6).sort();
  assert.deepEqual(await of('2001:db8:2::/64'), hosts.slice(1));
  assert.deepEqual(await of(HOST), [HOST]);
  assert.deepEqual(await of('198.51.100.7'), ['2001:db8:9::/120']);
  assert.deepEqual(await of('0.0.0.0/0').then((all) => all.length), 4);
  const [{ ipv4 = '' } = {}] = (await client.request('map-show', { address: HOST })) as MapView[];
  assert.deepEqual(await of(ipv4), [HOST]);
  await assert.rejects(client.request('maps', { host: 'example.com' }), /neither an address nor a prefix/);
});

test('a filter that fits nothing looks at a bounded number of addresses in each turn, and in each page', async () => {
  const { subject, client } = await serve('pool4 = "10.64.0.0/15"');
  subject.assign(HOST);
  let turns = 0;
  let isOver = false;
  const count = () => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const first = (await client.request('maps', { host: '2001:db8:77::/64' })) as MapPage;
  assert.deepEqual(first, { maps: [], next: 'dynamic:65536' });
  assert.ok(turns >= 15, `${turns} turns`);
  const second = (await client.request('maps', { host: '2001:db8:77::/64', from: first.next })) as MapPage;
  assert.deepEqual(second, { maps: [], next: null });
  isOver = true;
});

test('a list of maps ends where a reload brings another pool meanwhile', async () => {
  const { subject, client } = await serve();
  const page = client.request('maps', { host: '2001:db8:77::/64' });
  const { keeper } = subject.dataplane;
  let looks = 0;
  Object.defineProperty(subject.dataplane, 'keeper', { get: () => (++looks > 4 ? undefined : keeper) });
  assert.deepEqual(await page, { maps: [], next: null });
  assert.ok(looks > 4 && looks < 10, `${looks} looks`);
});

test('drop ends a dynamic map at once; one of the configuration stays', async () => {
  const { subject, client } = await serve(MAP);
  const index = subject.assign(HOST);
  await client.request('map-drop', { address: HOST });
  assert.equal(subject.keeper.pool.entry(index), null);
  assert.match(
    subject.notes[0] as string,
    /^map-dropped: the map of 2001:db8:1::2 to 10\.64\.\d+\.\d+ was dropped/,
  );
  await assert.rejects(client.request('map-drop', { address: HOST }), { code: 'not-found' });
  await assert.rejects(
    client.request('map-drop', { address: '2001:db8:9::7' }),
    /stands in the configuration/,
  );
  await assert.rejects(client.request('map-drop', { address: '2001:db8:9::/64' }), /is a network/);
});

test('a pinned map outlives its time; let loose, it runs out', async () => {
  const { subject, client } = await serve('map-lifetime = 60');
  const index = subject.assign(HOST);
  const isLive = () => subject.keeper.pool.entry(index)?.live;
  const pass = (sec: number) => {
    for (let i = 0; i < sec; i++) subject.keeper.tick(++subject.nowSec);
  };
  const pinned = (await client.request('map-pin', { address: HOST })) as MapView;
  assert.deepEqual([pinned.isPinned, pinned.endsInSec], [true, null]);
  pass(500);
  assert.equal(isLive(), true);
  await client.request('map-pin', { address: HOST, isPinned: false });
  pass(100);
  assert.equal(isLive(), false);
  await assert.rejects(client.request('map-pin', { address: HOST, isPinned: false }), /is not pinned/);
  // A map at rest comes to life.
  await client.request('map-pin', { address: HOST });
  assert.equal(isLive(), true);
});

test('reload: a dry run tells what differs and who is interrupted, and changes nothing', async () => {
  const { subject, client } = await serve(`${MAP}[http]\ntoken = "0123456789abcdef"\n`);
  subject.assign(HOST);
  subject.toml =
    'pool4 = "10.65.0.0/16"\nworkers = 3\npref64 = "2001:db8:64::/96"\n[http]\ntoken = "fedcba9876543210"\n[[map]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8:9::7"\n';
  const difference = (await client.request('reload', { isDryRun: true })) as Difference;
  const of = (key: string) => difference.keys.find((change) => change.key === key);
  assert.deepEqual(of('pool4'), { key: 'pool4', before: null, after: '"10.65.0.0/16"', needsRestart: null });
  assert.deepEqual(of('workers'), {
    key: 'workers',
    before: null,
    after: '3',
    needsRestart: null,
  });
  assert.deepEqual(of('http.token'), {
    key: 'http.token',
    before: '(secret)',
    after: '(secret)',
    needsRestart: null,
  });
  assert.deepEqual(difference.mapsAdded, ['198.51.100.7/32 2001:db8:9::7/128']);
  assert.deepEqual(difference.mapsRemoved, ['198.51.100.0/24 2001:db8:9::/120']);
  assert.deepEqual(
    difference.interrupts.map((line) => line.split(':')[0]),
    [
      'every flow to an address under 64',
      '1 dynamic map ends',
      'flows of 1 explicit map that goes away or change',
      'connections of this machine itself from 10.64.0.2/32, 64',
      'DNS queries in flight and TCP connections for DNS at 10.64.0.2',
    ],
  );
  assert.equal(subject.reloads.done, 0);
  await client.request('reload');
  assert.equal(subject.reloads.done, 1);
  assert.equal(subject.config.workers, 3);
  const again = (await client.request('reload', { isDryRun: true })) as Difference;
  assert.deepEqual(again.keys, []);
  assert.deepEqual(
    again.interrupts.filter((line) => line.includes('explicit')),
    [],
  );
});

test('reload: with a key that needs a restart nothing changes, and a dry run says so', async () => {
  const { subject, client } = await serve();
  subject.assign(HOST);
  subject.toml = 'pool4 = "10.65.0.0/16"\ndata-dir = "/d"\n[device]\nname = "b"\n';
  const { keys, interrupts } = (await client.request('reload', { isDryRun: true })) as Difference;
  assert.deepEqual(
    keys.flatMap(({ key, needsRestart }) => (needsRestart === null ? [] : [key])),
    ['data-dir', 'device.name'],
  );
  assert.deepEqual(interrupts, []);
  await assert.rejects(client.request('reload'), /^\S+ f: data-dir cannot change.*\nf: device\.name cannot/);
  assert.equal(subject.config.pool4?.address, 0x0a400000);
});

test('reload: what ends beside flows is told: listeners, sockets, masquerading, forwarding', async () => {
  const { subject, client } = await serve();
  for (const [toml, expected] of [
    ['[http]\nlisten = ["127.0.0.1", "127.0.0.1:7000"]\ntoken = "0123456789abcdef"\n', []],
    ['[http]\nlisten = false\n', ['HTTP connections (metrics, page) at 127.0.0.1:6464']],
    ['control-socket = false\n', ['clients of the control socket, once they have their replies']],
    ['[device]\nmasquerade = "eth0"\nmtu = 1400\n', []],
    [
      '[device]\nmasquerade = false\n',
      ["flows that leave with this machine's own IPv4 address: masquerading ends"],
    ],
    [
      '[device]\nforwarding = false\n',
      ['every flow, where it was the gateway that turned forwarding on: it turns it off'],
    ],
    ['workers = 7\n[log]\nlevel = "debug"\nformat = "json"\n', []],
  ] as const) {
    subject.toml = toml;
    const { interrupts } = (await client.request('reload', { isDryRun: true })) as Difference;
    assert.deepEqual(interrupts, expected, toml);
  }
});

test('reload: a bad file is refused with every error in it', async () => {
  const { subject, client } = await serve();
  subject.toml = 'pool5 = 1\npref64 = 7\n';
  await assert.rejects(client.request('reload'), /^Error: f:1:1: pool5: .*\nf:2:10: pref64: /);
  assert.equal(subject.reloads.done, 0);
});

test('a shorter lifetime and a map that claims a host end the maps that they concern', async () => {
  const { subject, client } = await serve();
  subject.assign(HOST);
  subject.assign('2001:db8:1::3');
  subject.nowSec += 100;
  subject.assign('2001:db8:1::4');
  const ending = async (toml: string) => {
    subject.toml = toml;
    const { interrupts } = (await client.request('reload', { isDryRun: true })) as Difference;
    return interrupts.find((line) => line.includes('dynamic')) ?? '';
  };
  assert.match(await ending('map-lifetime = 60'), /^2 dynamic maps come to rest: .* the same address again/);
  assert.match(
    await ending(`[[map]]\nipv4 = "198.51.100.7"\nipv6 = "${HOST}"`),
    /^1 dynamic map ends: .* another address/,
  );
  // One that is pinned counts as used.
  await client.request('map-pin', { address: HOST });
  assert.match(await ending('map-lifetime = 60'), /^1 dynamic map comes to rest/);
  assert.match(await ending('pool4 = false\nipv4-address = "192.0.2.1"'), /^3 dynamic maps end/);
  assert.equal(await ending('pool4 = "10.64.0.0/15"\n[log]\nlevel = "debug"'), '');
});

test('DNS64 is interrupted where its listeners close, and by nothing else', async () => {
  const { subject, client } = await serve();
  for (const [toml, isInterrupting] of [
    ['wkpf-strict = false\n[dns64]\nforwarders = ["192.0.2.1"]\n', false],
    ['[dns64]\nlisten = ["127.0.0.1"]\n', true],
    ['[dns64]\nenabled = false\n', true],
  ] as const) {
    subject.toml = toml;
    const { interrupts } = (await client.request('reload', { isDryRun: true })) as Difference;
    assert.deepEqual(
      interrupts.map((line) => line.split(':')[0]),
      isInterrupting ? ['DNS queries in flight and TCP connections for DNS at 10.64.0.2'] : [],
      toml,
    );
  }
});

test('a log level set by hand that a reload takes back is told', async () => {
  const { client } = await serve();
  await client.request('log-level', { level: 'debug' });
  const { keys } = (await client.request('reload', { isDryRun: true })) as Difference;
  assert.deepEqual(keys, [
    { key: 'log.level', before: '"debug", set by hand', after: null, needsRestart: null },
  ]);
});

test('a reload that fails counts, a dry run does not', async () => {
  const { subject, client } = await serve();
  subject.toml = 'pool5 = 1\n';
  await assert.rejects(client.request('reload', { isDryRun: true }));
  assert.equal(subject.reloads.failed, 0);
  await assert.rejects(client.request('reload'));
  assert.equal(subject.reloads.failed, 1);
});

test('a map that is dropped is gone from the disk as well; where that fails, it is said', async () => {
  const { subject, client } = await serve();
  subject.assign(HOST);
  let saves = 0;
  subject.save = async () => {
    saves++;
  };
  await client.request('map-drop', { address: HOST });
  assert.equal(saves, 1);
  subject.assign(HOST);
  subject.save = async () => {
    throw new Error('no space');
  };
  await assert.rejects(
    client.request('map-drop', { address: HOST }),
    /no space.*a crash would bring it back/,
  );
  assert.equal(subject.keeper.pool.liveCount, 0);
});

test('map-show is of one address', async () => {
  const { client } = await serve(MAP);
  await assert.rejects(
    client.request('map-show', { address: '0.0.0.0/0' }),
    /network.*maps --host 0\.0\.0\.0\/0/,
  );
});

test('log level', async () => {
  const { subject, client } = await serve();
  assert.deepEqual(await client.request('log-level', { level: 'debug' }), { before: 'info', level: 'debug' });
  assert.equal(subject.logLevel, 'debug');
  await assert.rejects(client.request('log-level', { level: 'loud' }), { code: 'bad-arguments' });
});

test('DNS: DNS64 is asked, and its errors are replies', async () => {
  const { client } = await serve('', {
    cacheStats: () => ({ entries: 2 }),
    cacheEntries: (limit: number) => [{ name: 'a.example', limit }],
    flush: (name?: string) => (name === undefined ? 2 : 1),
    explain: async (name: string) => {
      throw new Error(`${name} is no name`);
    },
  });
  assert.deepEqual(await client.request('dns-cache', { limit: 5 }), {
    stats: { entries: 2 },
    entries: [{ name: 'a.example', limit: 5 }],
  });
  assert.deepEqual(await client.request('dns-flush'), { flushed: 2 });
  assert.deepEqual(await client.request('dns-flush', { name: 'a.example' }), { flushed: 1 });
  assert.equal(((await client.request('dns-stats')) as { queriesUdp: number }).queriesUdp, 0);
  await assert.rejects(client.request('dns-explain', { name: 'a..b' }), { message: /a\.\.b is no name/ });
});

test('DNS: the status shows the prefixes that answers are made under now, whatever the file says', async () => {
  const prefixes = ['2001:db8:64::/96', '64:ff9b::/96'];
  const { client } = await serve('', { prefixes: prefixes.map((text) => parsePrefix6(text) as Prefix6) });
  const { dns64 } = (await client.request('status')) as Status;
  assert.deepEqual(dns64?.pref64s, prefixes);
});

test('DNS: prefixes are listed, added and dropped, never the last one', async () => {
  const { client } = await serve('', {
    prefixes: [parsePrefix6('2001:db8:64::/96') as Prefix6],
    usePrefixes(this: { prefixes: Prefix6[] }, others: Prefix6[]) {
      this.prefixes = others;
    },
  });
  const ask = async (change: string | null = null, prefix = '') =>
    ((await client.request('dns-prefixes', { change, prefix })) as { prefixes: string[] }).prefixes;
  assert.deepEqual(await ask(), ['2001:db8:64::/96']);
  const both = ['2001:db8:64::/96', '64:ff9b::/96'];
  assert.deepEqual(await ask('add', '64:ff9b::/96'), both);
  assert.deepEqual(await ask('add', '64:ff9b::/96'), both);
  assert.deepEqual(await ask('drop', '2001:db8:64::/96'), ['64:ff9b::/96']);
  for (const [change, prefix, message] of [
    ['drop', '2001:db8:64::/96', /answers are not made under 2001:db8:64::\/96/],
    ['drop', '64:ff9b::/96', /the last prefix/],
    ['add', '2001:db8::/33', /not a prefix of a NAT64/],
    ['add', '2001:db8:1:2:ff00::/96', /not a prefix of a NAT64/],
    ['add', '', /not a prefix of a NAT64/],
    ['put', '64:ff9b::/96', /change/],
  ] as const)
    await assert.rejects(ask(change, prefix), message);
  assert.deepEqual(await ask(), ['64:ff9b::/96']);
});

test('a result that cannot be told is an error, and the connection goes on', async () => {
  const { client } = await serve('', {
    explain: () => ({
      get answer() {
        throw new Error('broken');
      },
    }),
  });
  await assert.rejects(client.request('dns-explain', { name: 'a.example' }), {
    code: 'failed',
    message: 'broken',
  });
  assert.ok(await client.request('dns-stats'));
});

test('DNS: a gateway without DNS64 says so', async () => {
  const { client } = await serve('', null);
  await assert.rejects(client.request('dns-stats'), /DNS64 is off/);
});
