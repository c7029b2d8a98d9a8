/** RFC 6303: reverse zones of private networks, forwarded or answered here. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainForwarder } from '#nat64d/control/config/forwarder.js';
import { at, type GatewayOptions, gateway, NXDOMAIN } from '../rfc6147/harness.js';
import { names } from '../rfc6147/names.js';

const LOCAL: GatewayOptions = { names: names('private-zones = "local"') };
const fill = (zone: string) => {
  const nibbles = 34 - zone.split('.').length;
  return zone.endsWith('ip6.arpa') ? `${'0.'.repeat(Math.max(nibbles, 0))}${zone}` : `1.${zone}`;
};
const PRIVATE = [
  ...['0', '10', '127', '16.172', '31.172', '168.192', '254.169', '2.0.192', '100.51.198', '113.0.203'].map(
    (labels) => `${labels}.in-addr.arpa`,
  ),
  ...['64.100', '127.100'].map((labels) => `${labels}.in-addr.arpa`),
  ...['d.f', '8.e.f', 'b.e.f', '8.b.d.0.1.0.0.2'].map((labels) => `${labels}.ip6.arpa`),
  ...['home.arpa', 'test', 'local'],
];

for (const zone of PRIVATE) {
  test(`RFC 6303 3: ${zone} has nothing below`, async () => {
    const gate = await gateway({}, LOCAL);
    try {
      for (const type of ['PTR', 'A', 'AAAA', 'TXT']) {
        const reply = await gate.ask({ name: fill(zone), type });
        assert.equal(reply.rcode, NXDOMAIN, type);
        assert.deepEqual(reply.authority, [`${zone} 600 SOA 600`]);
      }
      assert.deepEqual(gate.server.asked, []);
    } finally {
      await gate.close();
    }
  });
}

test('RFC 6303 3: the whole addresses 255.255.255.255 and ::', async () => {
  const gate = await gateway({}, LOCAL);
  try {
    for (const name of ['255.255.255.255.in-addr.arpa', `${'0.'.repeat(32)}ip6.arpa`]) {
      const reply = await gate.ask({ name, type: 'PTR' });
      assert.deepEqual([reply.rcode, reply.answer, reply.authority.length], [0, [], 1], name);
    }
    assert.deepEqual(gate.server.asked, []);
  } finally {
    await gate.close();
  }
});

test('RFC 6303 3: the zone itself has its SOA and an NS; its DS is the parent’s', async () => {
  const gate = await gateway({ '10.in-addr.arpa DS': { authority: ['in-addr.arpa 60 SOA 60'] } }, LOCAL);
  const zone = '10.in-addr.arpa';
  try {
    assert.deepEqual((await gate.ask({ name: zone, type: 'SOA' })).answer, [`${zone} 600 SOA 600`]);
    assert.deepEqual((await gate.ask({ name: zone, type: 'NS' })).answer, [`${zone} 600 NS ${zone}`]);
    assert.deepEqual((await gate.ask({ name: zone, type: 'PTR' })).authority, [`${zone} 600 SOA 600`]);
    assert.deepEqual(gate.server.asked, []);
    assert.deepEqual((await gate.ask({ name: zone, type: 'DS' })).authority, ['in-addr.arpa 60 SOA 60']);
  } finally {
    await gate.close();
  }
});

for (const name of [
  '11.in-addr.arpa',
  '15.172.in-addr.arpa',
  '32.172.in-addr.arpa',
  '63.100.in-addr.arpa',
  '110.in-addr.arpa',
  'latest',
]) {
  test(`RFC 6303 4: ${name} is not private`, async () => {
    const gate = await gateway({}, LOCAL);
    try {
      await gate.ask({ name: `1.${name}`, type: 'PTR' });
      assert.equal(gate.server.asked.length, 1);
    } finally {
      await gate.close();
    }
  });
}

const NAME = '1.0.0.10.in-addr.arpa';
const KNOWN = { [`${NAME} PTR`]: { answer: [`${NAME} 60 PTR host.example`] } };
/** Nobody is there, and nobody is to be asked. */
const PUBLIC = plainForwarder({ address: '192.0.2.53', port: 53 });

for (const [title, toml, forwarders, isForwarded] of [
  ['auto, all forwarders on loopback', '', [], true],
  ['auto, one public forwarder among them', '', [PUBLIC], false],
  ['forward, one public forwarder among them', 'private-zones = "forward"', [PUBLIC], true],
  ['local, all forwarders on loopback', 'private-zones = "local"', [], false],
] as const) {
  test(`RFC 6303 6: ${title}: ${isForwarded ? 'forwarded' : 'answered here'}`, async () => {
    const first = await gateway(KNOWN);
    const own = at(first.server.port);
    const gate = await gateway({}, { names: names(toml), forwarders: [own, ...forwarders] });
    try {
      const reply = await gate.ask({ name: NAME, type: 'PTR' });
      assert.deepEqual(reply.answer, isForwarded ? [`${NAME} 60 PTR host.example`] : []);
      assert.equal(first.server.asked.length, isForwarded ? 1 : 0);
    } finally {
      await gate.close();
      await first.close();
    }
  });
}

test('RFC 6303: the name of a private address under a prefix is in the private zone', async () => {
  const reverse6 = `${'20010db800640000000000000a000001'.split('').reverse().join('.')}.ip6.arpa`;
  const gate = await gateway({}, LOCAL);
  try {
    const reply = await gate.ask({ name: reverse6, type: 'PTR' });
    assert.equal(reply.rcode, NXDOMAIN);
    assert.deepEqual(gate.server.asked, []);
  } finally {
    await gate.close();
  }
});

test('RFC 6303: a prefix that is unique-local is ours before it is private', async () => {
  const reverse6 = `${'fd64000000000000000000000a000001'.split('').reverse().join('.')}.ip6.arpa`;
  const gate = await gateway(KNOWN, { names: names('pref64 = "fd64::/96"') });
  try {
    const reply = await gate.ask({ name: reverse6, type: 'PTR' });
    assert.deepEqual(reply.answer, [`${reverse6} 60 CNAME ${NAME}`, `${NAME} 60 PTR host.example`]);
  } finally {
    await gate.close();
  }
});
