import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readForwarder, showForwarder } from '#nat64d/control/config/forwarder.js';

type Expected = [transport: string, address: string, port: number, serverName?: string | null, path?: string];

const GOOD: [string, Expected, string?][] = [
  ['192.0.2.1', ['udp', '192.0.2.1', 53], '192.0.2.1:53'],
  ['192.0.2.1:5353', ['udp', '192.0.2.1', 5353]],
  ['2001:DB8:0::1', ['udp', '2001:db8::1', 53], '[2001:db8::1]:53'],
  ['[2001:db8::1]:53', ['udp', '2001:db8::1', 53]],
  ['fe80::1%eth0', ['udp', 'fe80::1%eth0', 53], '[fe80::1%eth0]:53'],
  ['tls://192.0.2.1', ['tls', '192.0.2.1', 853], 'tls://192.0.2.1:853'],
  ['tls://192.0.2.1:8853#dns.example', ['tls', '192.0.2.1', 8853, 'dns.example']],
  [
    'tls://2001:db8::1#dns.example',
    ['tls', '2001:db8::1', 853, 'dns.example'],
    'tls://[2001:db8::1]:853#dns.example',
  ],
  [
    'https://192.0.2.1/dns-query#dns.example',
    ['https', '192.0.2.1', 443, 'dns.example', '/dns-query'],
    'https://192.0.2.1:443/dns-query#dns.example',
  ],
  ['https://192.0.2.1', ['https', '192.0.2.1', 443, null, '/dns-query']],
  ['https://[2001:db8::1]:8443/a/b?c=d', ['https', '2001:db8::1', 8443, null, '/a/b?c=d']],
];
for (const [text, [transport, address, port, serverName = null, path = null], shown] of GOOD) {
  test(`forwarder ${text}`, () => {
    const forwarder = readForwarder(text);
    assert.deepEqual(forwarder, { transport, address, port, serverName, path });
    assert.deepEqual(readForwarder(showForwarder(forwarder!)), forwarder);
    if (shown !== undefined) assert.equal(showForwarder(forwarder!), shown);
  });
}

const BAD = [
  '',
  'dns.example',
  'tls://dns.example',
  'tls://192.0.2.1/path',
  'tls://192.0.2.1#',
  'tls://192.0.2.1#192.0.2.1',
  'tls://192.0.2.1#-a.example',
  'tls://192.0.2.1#a..example',
  '192.0.2.1#dns.example',
  '192.0.2.1/dns-query',
  '192.0.2.1:0',
  '192.0.2.1:65536',
  '192.0.2.1:',
  '[192.0.2.1]:53',
  '2001:db8::1:53:x',
  'udp://192.0.2.1',
  'https://192.0.2.1/a b',
  'https://192.0.2.1/\n',
  'TLS://192.0.2.1',
];
for (const text of BAD) {
  test(`no forwarder: ${JSON.stringify(text)}`, () => assert.equal(readForwarder(text), null));
}

test('any text is a forwarder that reads back the same, or none', () => {
  const part = fc.constantFrom(
    'tls://',
    'https://',
    '192.0.2.1',
    '::1',
    '[',
    ']',
    ':',
    '53',
    '/',
    '#',
    'a',
    '.',
    '%',
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
      const forwarder = readForwarder(parts.join(''));
      if (forwarder !== null) assert.deepEqual(readForwarder(showForwarder(forwarder)), forwarder);
    }),
    { numRuns: 2000 },
  );
});
