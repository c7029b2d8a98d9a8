import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { plainForwarder } from '#nat64d/control/config/forwarder.js';
import { clientFilter, readAddress } from '#nat64d/control/dns64/access.js';
import { FrameReader, frame } from '#nat64d/control/dns64/framing.js';
import { nameOf } from '#nat64d/control/dns64/message.js';
import { receiveQuery } from '#nat64d/control/dns64/query.js';
import { followResolvConf, readResolvConf, withoutOurselves } from '#nat64d/control/dns64/resolvers.js';
import { parseReverse6, reverseName4 } from '#nat64d/control/dns64/reverse.js';
import { parseAddress6, parsePrefix4, parsePrefix6 } from '#nat64d/wire/address.js';
import { until } from '../../../helpers/until.js';

describe('framing', () => {
  it('gives the same messages however the stream is cut', () => {
    const message = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
        (messages, cuts) => {
          const stream = Buffer.concat(messages.map(frame));
          const reader = new FrameReader();
          const found: Buffer[] = [];
          for (let at = 0, i = 0; at < stream.length; i++) {
            const end = at + (cuts[i % cuts.length] as number);
            found.push(...reader.push(stream.subarray(at, end)));
            at = end;
          }
          assert.deepEqual(found, messages);
        },
      ),
    );
  });
});

describe('receiveQuery', () => {
  it('makes a query, an error or a drop of any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        const received = receiveQuery(Buffer.from(bytes));
        if (received.kind === 'error') {
          assert.deepEqual(received.bytes.subarray(0, 2), Buffer.from(bytes.slice(0, 2)));
          assert.notEqual(received.bytes.readUInt16BE(2) & 0x800f, 0x8000);
        } else assert.ok(received.kind === 'drop' || received.query.question.length >= 5);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('clients', () => {
  const byDefault = clientFilter(null, () => [
    parsePrefix6('2001:db8:64::/64')!,
    parsePrefix4('203.0.113.0/24')!,
  ]);
  const listed = clientFilter([parsePrefix4('192.0.2.0/24')!, parsePrefix6('2001:db8::/32')!], () => [
    parsePrefix4('203.0.113.0/24')!,
  ]);
  const ROWS: [string, boolean, boolean][] = [
    ['127.0.0.1', true, false],
    ['::1', true, false],
    ['10.255.0.1', true, false],
    ['172.16.0.1', true, false],
    ['172.32.0.1', false, false],
    ['192.168.9.9', true, false],
    ['169.254.1.1', true, false],
    ['fe80::1%eth0', true, false],
    ['fd00::1', true, false],
    ['2001:db8:64::9', true, true],
    ['2001:db8:65::9', false, true],
    ['203.0.113.9', true, false],
    ['192.0.2.1', false, true],
    ['8.8.8.8', false, false],
    ['2600::1', false, false],
    ['::ffff:10.0.0.1', true, false],
  ];
  for (const [address, expectedByDefault, expectedListed] of ROWS) {
    it(`'${address}'`, () => {
      const { words } = readAddress(address)!;
      // The second time it is remembered.
      for (let i = 0; i < 2; i++) {
        assert.equal(byDefault(words), expectedByDefault);
        assert.equal(listed(words), expectedListed);
      }
    });
  }

  it('::/0 lets all of IPv6 in and nobody of IPv4, 0.0.0.0/0 the other way round', () => {
    const [ipv4, ipv6] = ['192.0.2.1', '2001:db8::1'].map((text) => readAddress(text)!.words);
    const of = (prefix: ReturnType<typeof parsePrefix4 | typeof parsePrefix6>) =>
      clientFilter([prefix!], () => []);
    const all6 = of(parsePrefix6('::/0'));
    const all4 = of(parsePrefix4('0.0.0.0/0'));
    assert.deepEqual([all6(ipv6!), all6(ipv4!)], [true, false]);
    assert.deepEqual([all4(ipv6!), all4(ipv4!)], [false, true]);
  });

  it('addresses in text', () => {
    assert.deepEqual(readAddress('192.0.2.1'), { words: [0, 0, 0xffff, 0xc0000201 | 0], scope: 0 });
    assert.deepEqual(readAddress('fe80::1%7'), { words: [0xfe800000 | 0, 0, 0, 1], scope: 7 });
    assert.deepEqual(readAddress('fe80::1%nowhere0'), { words: [0xfe800000 | 0, 0, 0, 1], scope: 0 });
    for (const bad of ['', 'name', '192.0.2', '::g']) assert.equal(readAddress(bad), null);
  });
});

describe('resolv.conf is followed', () => {
  it('written anew, replaced by another, and through a link; missing or empty, it changes nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nat64d-resolv-'));
    const file = join(folder, 'resolv.conf');
    const target = join(folder, 'target');
    const write = (path: string, address: string) => writeFileSync(path, `nameserver ${address}\n`);
    write(file, '192.0.2.1');
    const seen: string[][] = [];
    const take = (servers: readonly { address: string }[]) => {
      seen.push(servers.map(({ address }) => address));
    };
    const end = followResolvConf(file, readResolvConf(file), take, 5);
    const expectNext = async (...addresses: string[]) => {
      await until(() => seen.length > 0, `${addresses}`);
      assert.deepEqual(seen, [addresses]);
      seen.length = 0;
    };
    try {
      write(file, '192.0.2.2');
      await expectNext('192.0.2.2');
      write(`${file}.new`, '192.0.2.3');
      renameSync(`${file}.new`, file);
      await expectNext('192.0.2.3');
      rmSync(file);
      await sleep(30);
      write(target, '192.0.2.3');
      symlinkSync(target, file);
      writeFileSync(target, '');
      await sleep(30);
      assert.deepEqual(seen, []);
      writeFileSync(target, 'nameserver 192.0.2.4\nnameserver 192.0.2.5\n');
      await expectNext('192.0.2.4', '192.0.2.5');
    } finally {
      end();
      rmSync(folder, { recursive: true });
    }
    await sleep(20);
    assert.deepEqual(seen, []);
  });
});

const at = (address: string, port = 53) => plainForwarder({ address, port });

describe('forwarders', () => {
  it('are the nameserver lines of resolv.conf', () => {
    const folder = mkdtempSync(join(tmpdir(), 'nat64d-resolv-'));
    const file = join(folder, 'resolv.conf');
    try {
      const lines = [
        '# nameserver 192.0.2.1',
        'nameserver 192.0.2.2',
        '  nameserver\t2001:db8::1 # ours',
        'search example',
        'nameserver fe80::1%eth0',
        'nameserver nonsense',
        'nameserver',
        ';nameserver 192.0.2.3',
      ];
      writeFileSync(file, lines.join('\n'));
      assert.deepEqual(
        readResolvConf(file),
        ['192.0.2.2', '2001:db8::1', 'fe80::1%eth0'].map((address) => at(address)),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
    assert.deepEqual(readResolvConf(file), []);
  });

  const ROWS: [string, string, string, number, boolean][] = [
    ['the same address and port', '192.0.2.1', '192.0.2.1', 53, true],
    ['another port', '192.0.2.1', '192.0.2.1', 65053, false],
    ['another spelling', '2001:DB8:0::1', '2001:db8::1', 53, true],
    ['another address', '192.0.2.1', '192.0.2.2', 53, false],
    ['a local address under the wildcard', '0.0.0.0', '127.0.0.1', 53, true],
    ['any loopback address under the wildcard', '0.0.0.0', '127.0.0.53', 53, true],
    ['a remote address under the wildcard', '0.0.0.0', '192.0.2.9', 53, false],
    ['::1 under the IPv6 wildcard', '::', '::1', 53, true],
    ['IPv4 under the IPv6 wildcard', '::', '127.0.0.1', 53, false],
    ['the address by which IPv4 is written as IPv6', '127.0.0.1', '::ffff:127.0.0.1', 53, true],
    ['the wildcard, which reaches this host', '127.0.0.1', '0.0.0.0', 53, true],
    ['the IPv6 wildcard, which reaches this host', '::1', '::', 53, true],
    ['another zone', 'fe80::1%a', 'fe80::1%b', 53, false],
  ];
  for (const [what, listen, forwarder, port, ours] of ROWS) {
    it(`${ours ? 'are not ourselves' : 'may be'}: ${what}`, () => {
      const { forwarders, ourselves } = withoutOurselves([at(forwarder, port)], [at(listen)]);
      assert.equal(ourselves.length, ours ? 1 : 0);
      assert.equal(forwarders.length, ours ? 0 : 1);
    });
  }
});

describe('reverse names', () => {
  it('of IPv4', () => assert.equal(reverseName4(0xc0000201), nameOf('1.2.0.192.in-addr.arpa')));

  const name = (digits: string) => nameOf(`${digits.split('').reverse().join('.')}.ip6.arpa`);
  it('of IPv6', () => {
    assert.deepEqual(
      parseReverse6(name('20010db8f23456789abcdef0fedcba98')),
      parseAddress6('2001:db8:f234:5678:9abc:def0:fedc:ba98'),
    );
  });
  for (const bad of [
    name('20010db8f23456789abcdef0fedcba9'),
    name('20010db8f23456789abcdef0fedcba987'),
    name('g0010db8f23456789abcdef0fedcba98'),
    name('20010db8f23456789abcdef0fedcba98').replace('\x04arpa', '\x04arpb'),
    `\x03abc${name('20010db8f23456789abcdef0fedcba98').slice(4)}`,
  ]) {
    it(`not ${JSON.stringify(bad.slice(0, 8))}… of ${bad.length} octets`, () =>
      assert.equal(parseReverse6(bad), null));
  }
});
