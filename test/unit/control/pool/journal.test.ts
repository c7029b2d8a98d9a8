/** The journal of dynamic.map: what has been recorded is there after any end. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs, {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { DynamicMapStore } from '#nat64d/control/pool/dynamic-map-store.js';
import type { PoolEntry } from '#nat64d/control/pool/dynamic-pool.js';
import { atOnce } from '#nat64d/control/slices.js';
import { formatAddress4, formatAddress6 } from '#nat64d/wire/address.js';
import { address4, address6 } from '../../../helpers/harness.js';

const top = mkdtempSync(join(tmpdir(), 'nat64d-journal-'));
after(() => rmSync(top, { recursive: true }));
let folders = 0;
const newFile = () => join(top, String(folders++), 'dynamic.map');

const host = (n: number) => address6(`2001:db8::${n.toString(16)}`);
const ip = (n: number) => address4(`10.0.0.${n}`);
const entry = (address: number, n: number): PoolEntry => ({
  ipv4: ip(address),
  host: host(n),
  lastUsedSec: 5,
  live: true,
});
/** Maps as `address=host`, in order. */
const linesOf = (entries: readonly Pick<PoolEntry, 'ipv4' | 'host'>[]) =>
  entries.map(({ ipv4, host: words }) => `${formatAddress4(ipv4)}=${formatAddress6(words)}`).sort();
/** What the files tell. */
const told = (file: string) => linesOf([...atOnce(new DynamicMapStore(file).read()).entries]);

test('what is recorded is read back, after a compaction and without', async () => {
  const file = newFile();
  const store = new DynamicMapStore(file);
  store.record(ip(1), host(1), 1_800_000_000);
  assert.deepEqual(told(file), ['10.0.0.1=2001:db8::1']);
  await store.compact([entry(1, 1)], 5, 1_800_000_000);
  assert.ok(!existsSync(`${file}.journal`) && !existsSync(`${file}.journal.old`));
  store.record(ip(2), host(2), 1_800_000_001);
  assert.deepEqual(told(file), ['10.0.0.1=2001:db8::1', '10.0.0.2=2001:db8::2']);
  await store.close();
});

test('a later line counts before an earlier one about the same address or host', async () => {
  const file = newFile();
  const store = new DynamicMapStore(file);
  await store.compact([entry(1, 1), entry(2, 2), entry(3, 3)], 5, 1_800_000_000);
  store.record(ip(1), host(9), 1_800_000_001);
  store.record(ip(8), host(2), 1_800_000_002);
  store.record(ip(8), host(7), 1_800_000_003);
  assert.deepEqual(told(file), ['10.0.0.1=2001:db8::9', '10.0.0.3=2001:db8::3', '10.0.0.8=2001:db8::7']);
  await store.close();
});

test('a last line that was never finished counts for nothing, and spoils none after it', async () => {
  for (let cut = 1; cut < 30; cut++) {
    const file = newFile();
    const first = new DynamicMapStore(file);
    first.record(ip(1), host(1), 1_800_000_000);
    first.record(ip(2), host(2), 1_800_000_000);
    await first.close();
    const journal = `${file}.journal`;
    truncateSync(journal, readFileSync(journal).length - cut);
    assert.deepEqual(told(file), ['10.0.0.1=2001:db8::1']);
    const second = new DynamicMapStore(file);
    second.record(ip(3), host(3), 1_800_000_000);
    await second.close();
    assert.deepEqual(told(file), ['10.0.0.1=2001:db8::1', '10.0.0.3=2001:db8::3']);
  }
});

test('maps recorded while a compaction is under way are kept', async () => {
  const file = newFile();
  const store = new DynamicMapStore(file);
  store.record(ip(1), host(1), 1_800_000_000);
  // Enough for several slices.
  const many = Array.from({ length: 20_000 }, (_, i) => ({
    ...entry(0, 0),
    ipv4: 0x0b000000 + i,
    host: host(1000 + i),
  }));
  const done = store.compact([entry(1, 1), ...many], 5, 1_800_000_000);
  await new Promise((resolve) => setImmediate(resolve));
  store.record(ip(2), host(2), 1_800_000_001);
  // A crash now, or after: both tell.
  assert.ok(told(file).includes('10.0.0.2=2001:db8::2'));
  await done;
  const after = told(file);
  assert.equal(after.length, 20_002);
  assert.ok(after.includes('10.0.0.2=2001:db8::2'));
  await store.close();
});

test('a compaction after one that a crash ended keeps what that had set aside', async () => {
  const file = newFile();
  const first = new DynamicMapStore(file);
  await first.compact([entry(1, 1)], 5, 1_800_000_000);
  await first.close();
  writeFileSync(`${file}.journal.old`, '10.0.0.2\t2001:db8::2\t1800000000\n10.0.0.9\t2001:d');
  writeFileSync(`${file}.journal`, '10.0.0.3\t2001:db8::3\t1800000000\n10.0.0.8\t2001:db8::8\t18');
  writeFileSync(`${file}.new`, 'half of a f');
  const all = ['10.0.0.1=2001:db8::1', '10.0.0.2=2001:db8::2', '10.0.0.3=2001:db8::3'];
  assert.deepEqual(told(file), all);
  const second = new DynamicMapStore(file);
  second.record(ip(4), host(4), 1_800_000_000);
  const compaction = second.compact([entry(1, 1), entry(2, 2), entry(3, 3), entry(4, 4)], 5, 1_800_000_000);
  // In the middle of it, too.
  assert.deepEqual(told(file), [...all, '10.0.0.4=2001:db8::4']);
  await compaction;
  assert.deepEqual(told(file), [...all, '10.0.0.4=2001:db8::4']);
  await second.close();
});

test('a folder that cannot be written is an error at each record, and mends by itself', async () => {
  const blocked = join(top, 'blocked');
  writeFileSync(blocked, 'a file where a folder should be');
  const store = new DynamicMapStore(join(blocked, 'dynamic.map'));
  assert.throws(() => store.record(ip(1), host(1), 1_800_000_000));
  await assert.rejects(store.compact([], 5, 1_800_000_000));
  rmSync(blocked);
  store.record(ip(2), host(2), 1_800_000_000);
  await store.compact([entry(2, 2)], 5, 1_800_000_000);
  assert.deepEqual(told(join(blocked, 'dynamic.map')), ['10.0.0.2=2001:db8::2']);
  await store.close();
});

test('whatever is assigned, compacted and cut off, the latest whole record of each address and host is read', async () => {
  type Step = { do: 'assign'; address: number; host: number } | { do: 'compact' | 'restart' | 'cut' };
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        do: fc.constant('assign' as const),
        address: fc.integer({ min: 1, max: 6 }),
        host: fc.integer({ min: 1, max: 6 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constantFrom('compact' as const, 'restart' as const, 'cut' as const) }),
    },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step), async (steps) => {
      const file = newFile();
      let store = new DynamicMapStore(file);
      const hosts = new Map<number, number>();
      for (const one of steps) {
        if (one.do === 'assign') {
          for (const [address, other] of hosts) if (other === one.host) hosts.delete(address);
          hosts.set(one.address, one.host);
          store.record(ip(one.address), host(one.host), 1_800_000_000);
        } else if (one.do === 'compact') {
          await store.compact(
            [...hosts].map(([a, h]) => entry(a, h)),
            5,
            1_800_000_000,
          );
        } else {
          await store.close();
          // A crash in the middle of a record that nobody was told of.
          if (one.do === 'cut' && existsSync(dirname(file)))
            writeFileSync(`${file}.journal`, '10.0.0.1\t2001:db8::5\t1', { flag: 'a' });
          store = new DynamicMapStore(file);
        }
        assert.deepEqual(
          told(file),
          [...hosts].map(([a, h]) => `10.0.0.${a}=2001:db8::${h.toString(16)}`).sort(),
        );
      }
      await store.close();
    }),
  );
});

/** The calls by which the store changes what is on disk. A crash may come between any two, or in the middle of a write. */
const STEPS = [
  'writeSync',
  'writeFileSync',
  'appendFileSync',
  'ftruncateSync',
  'renameSync',
  'rmSync',
] as const;

/** What a folder holds, by name. */
type Disk = ReadonlyMap<string, string>;

const diskAt = (folder: string): Disk =>
  new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'latin1')]));

/** Every state of the disk while `run` goes on: after each step, and with what a step appended cut off at each byte. */
async function disksDuring(folder: string, run: () => Promise<void> | void): Promise<Disk[]> {
  let before = diskAt(folder);
  const disks = [before];
  const look = () => {
    const now = diskAt(folder);
    for (const [name, text] of now) {
      const old = before.get(name) ?? '';
      if (!before.has(name) && [...before.values()].includes(text)) continue; // a rename is whole or not at all
      if (!text.startsWith(old)) continue;
      for (let end = old.length; end < text.length; end++)
        disks.push(new Map([...before, [name, text.slice(0, end)]]));
    }
    disks.push(now);
    before = now;
  };
  const originals = Object.fromEntries(STEPS.map((step) => [step, fs[step]]));
  for (const [step, original] of Object.entries(originals)) {
    const call = original as (...words: unknown[]) => unknown;
    const watched = (...words: unknown[]) => {
      const result = call(...words);
      look();
      return result;
    };
    Object.assign(fs, { [step]: watched });
  }
  syncBuiltinESMExports();
  try {
    await run();
  } finally {
    Object.assign(fs, originals);
    syncBuiltinESMExports();
  }
  return disks;
}

/** What a crash before this test's own has left beside dynamic.map, and the maps it tells of. */
const leftovers: { name: string; files: Record<string, string>; maps: PoolEntry[] }[] = [
  { name: 'nothing', files: {}, maps: [] },
  {
    name: 'a journal set aside',
    files: { '.journal.old': '10.0.0.7\t2001:db8::7\t1800000000\n' },
    maps: [entry(7, 7)],
  },
  {
    name: 'halves of everything',
    files: {
      '.journal.old': '10.0.0.7\t2001:db8::7\t1800000000\n10.0.0.8\t20',
      '.journal': '10.0.0.6\t2001:db8::6\t1800000000\n10.0.0.8\t2001:db8::8\t18',
      '.new': '# half of a f',
    },
    maps: [entry(6, 6), entry(7, 7)],
  },
];
for (const { name, files, maps } of leftovers) {
  test(`a crash between any two steps, or at any byte of one, after one that left ${name}, loses nothing`, async () => {
    const file = newFile();
    mkdirSync(dirname(file));
    for (const [ending, text] of Object.entries(files)) writeFileSync(`${file}${ending}`, text);
    const store = new DynamicMapStore(file);
    store.record(ip(1), host(1), 1_800_000_000);
    store.record(ip(2), host(2), 1_800_000_000);
    store.record(ip(2), host(3), 1_800_000_001);
    const before = [...maps, entry(1, 1), entry(2, 3)];
    const after = [...before, entry(3, 2)];
    const recording = await disksDuring(dirname(file), () => store.record(ip(3), host(2), 1_800_000_002));
    const compacting = await disksDuring(dirname(file), () => store.compact(after, 5, 1_800_000_003));
    await store.close();
    assert.ok(recording.length > 30 && compacting.length > 100, 'the steps were seen');
    const last = recording.pop() as Disk;
    const cases = [
      ...recording.map((disk) => ({ disk, expected: before })),
      ...[last, ...compacting].map((disk) => ({ disk, expected: after })),
    ];
    for (const { disk, expected } of cases) {
      const crashed = newFile();
      mkdirSync(dirname(crashed));
      for (const [one, text] of disk) writeFileSync(join(dirname(crashed), one), text);
      const shown = JSON.stringify([...disk]);
      assert.deepEqual(told(crashed), linesOf(expected), shown);
      // And the next start goes on from there.
      const next = new DynamicMapStore(crashed);
      next.record(ip(9), host(9), 1_800_000_004);
      assert.deepEqual(told(crashed), linesOf([...expected, entry(9, 9)]), shown);
      await next.compact([...expected, entry(9, 9)], 5, 1_800_000_004);
      await next.close();
      assert.deepEqual(told(crashed), linesOf([...expected, entry(9, 9)]), shown);
      // An emptied journal may stay; nothing else that was there for the crash's sake does.
      const rest = [...diskAt(dirname(crashed))].filter(
        ([one, text]) => one !== 'dynamic.map' && text !== '',
      );
      assert.deepEqual(rest, [], shown);
    }
  });
}

test('a disk that fills up in the middle of a record spoils neither the records before it nor those after', async () => {
  const file = newFile();
  // A file size limit takes a part of a write and then refuses, as a disk does that fills up.
  const script = `
    const { DynamicMapStore } = await import(${JSON.stringify(import.meta.resolve('#nat64d/control/pool/dynamic-map-store.js'))});
    const store = new DynamicMapStore(${JSON.stringify(file)});
    for (let n = 1; n <= 80; n++) {
      try {
        store.record(0x0a000000 + n, [0x20010db8, 0, 0, n], 1_800_000_000);
        console.log('written');
      } catch {
        console.log('refused');
      }
    }`;
  const { stdout, stderr } = spawnSync(
    '/bin/sh',
    ['-c', 'ulimit -f 2 && exec "$0" --input-type=module -e "$1"', process.execPath, script],
    { encoding: 'utf8' },
  );
  const words = stdout.trim().split('\n');
  const count = words.indexOf('refused');
  assert.ok(count > 0, stderr);
  assert.ok(words.slice(count).every((word) => word === 'refused'));
  assert.ok(!readFileSync(`${file}.journal`, 'latin1').endsWith('\n'), 'a record was cut off');
  const written = Array.from({ length: count }, (_, i) => entry(i + 1, i + 1));
  assert.deepEqual(told(file), linesOf(written));
  const store = new DynamicMapStore(file);
  store.record(ip(99), host(99), 1_800_000_001);
  assert.deepEqual(told(file), linesOf([...written, entry(99, 99)]));
  await store.close();
});

/** The soak asks for more. */
const KILLS = Number(process.env.NAT64D_KILLS ?? 10);

test(`kill -9 at any moment, ${KILLS} times, loses nothing that was said to be written`, async () => {
  const file = newFile();
  const child = fileURLToPath(new URL('../../../helpers/journal-child.js', import.meta.url));
  const expected = new Map<string, string>();
  for (let i = 0; i < KILLS; i++) {
    const process_ = spawn(process.execPath, [child, file, String(i * 1_000_000)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    process_.stdout.on('data', (data) => {
      said += data;
    });
    await once(process_.stdout, 'data');
    await sleep(Math.random() * 120);
    process_.kill('SIGKILL');
    await once(process_, 'close');
    const lines = said.split('\n').slice(0, -1);
    for (const line of lines) {
      const [address = '', name = ''] = line.split(' ');
      expected.set(address, name);
    }
    const { entries, problems } = atOnce(new DynamicMapStore(file).read());
    // A record that a crash cut off may stand in the middle once others have gone on behind it.
    assert.ok(problems.length <= i, JSON.stringify(problems));
    const read = new Map(
      [...entries].map(({ ipv4, host: words }) => [formatAddress4(ipv4), formatAddress6(words)]),
    );
    // The record after the last one that was said may be written, and nothing else may differ.
    const [, lastSaid = ''] = lines.at(-1)?.split(' ') ?? [];
    const [w0, w1, w2, n] = address6(lastSaid);
    const unsaid = formatAddress6([w0, w1, w2, n + 1]);
    const wrong = [...expected].filter(([address, name]) => read.get(address) !== name);
    assert.deepEqual(
      wrong.filter(([address]) => read.get(address) !== unsaid),
      [],
      `lost after ${lastSaid}`,
    );
    for (const [address] of wrong) expected.set(address, read.get(address) as string);
  }
});
