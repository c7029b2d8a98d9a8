/** DNS64 between real resolvers and real clients: Unbound and BIND as forwarders, dig, kdig and getaddrinfo. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type GatewayProcess, Lab, SERVER4, under } from '../helpers/lab.js';
import { BIND_PORT, type NameServers, startNameServers, TLS_NAME } from '../helpers/name-servers.js';

const WWW = '64:ff9b:1::808:808';

let lab: Lab;
let servers: NameServers;
let gateway: GatewayProcess | undefined;

before(async () => {
  lab = new Lab();
  servers = await startNameServers(lab);
});
after(() => lab.close());

async function useForwarders(...forwarders: string[]): Promise<GatewayProcess> {
  await gateway?.stop();
  gateway = await lab.startGateway({ toml: `[dns64]\nforwarders = ${JSON.stringify(forwarders)}\n` });
  return gateway;
}

async function dig(...words: string[]): Promise<string> {
  const args = ['+time=3', '+tries=1', `@${under('10.64.0.2')}`, ...words];
  return (await lab.run(lab.client, 'dig', args)).stdout;
}
const short = async (...words: string[]) =>
  (await dig('+short', ...words)).split('\n').filter((line) => line !== '');

const ask: Record<string, () => Promise<void>> = {
  'a name with only an IPv4 address': async () =>
    assert.deepEqual(await short('AAAA', 'www.example.com'), [WWW]),
  'a name with an IPv6 address': async () =>
    assert.deepEqual(await short('AAAA', 'six.example.com'), ['2001:db8:1::66']),
  'a name with both': async () =>
    assert.deepEqual(await short('AAAA', 'both.example.com'), ['2001:db8:1::67']),
  'by CNAME': async () =>
    assert.deepEqual(await short('AAAA', 'alias.example.com'), ['www.example.com.', WWW]),
  'by DNAME': async () => {
    const lines = await short('AAAA', 'www.d.example.com');
    assert.deepEqual(lines.slice(-2), ['www.t.example.com.', WWW]);
  },
  'no such name': async () => assert.match(await dig('AAAA', 'none.example.com'), /status: NXDOMAIN/),
  'neither address: the SOA as it came': async () => {
    const text = await dig('AAAA', 'big.example.com');
    assert.match(text, /status: NOERROR/);
    assert.match(text, /ANSWER: 0, AUTHORITY: 1/);
    assert.match(text, /IN\s+SOA\s+ns\.example\.com\./);
  },
  'an answer too large for UDP, on both sides': async () => {
    assert.equal((await short('TXT', 'big.example.com')).length, 20);
    assert.match(await dig('+ignore', 'TXT', 'big.example.com'), /flags: qr tc rd ra; QUERY: 1, ANSWER: 0/);
  },
  'the name of an address under the prefix': async () =>
    assert.deepEqual(await short('-x', WWW), ['8.8.8.8.in-addr.arpa.', 'www.example.com.']),
  'signed and with an IPv6 address: checked by the resolver, and AD says so to who asks': async () => {
    const text = await dig('+dnssec', 'AAAA', 'six.signed.com');
    assert.match(text, /flags: qr rd ra ad;/);
    assert.match(text, /IN\s+RRSIG\s+AAAA/);
    assert.doesNotMatch(await dig('+noadflag', 'AAAA', 'six.signed.com'), /flags:[^;]* ad/);
  },
  'signed and with only an IPv4 address: synthesized, without AD or signature': async () => {
    const text = await dig('+dnssec', 'AAAA', 'www.signed.com');
    assert.match(text, new RegExp(`IN\\s+AAAA\\s+${WWW}`));
    assert.match(text, /flags: qr rd ra;/);
    assert.doesNotMatch(text, /RRSIG\s+A /);
  },
  'CD: what the resolver says, and nothing synthesized': async () => {
    for (const words of [['+cdflag'], ['+cdflag', '+dnssec']]) {
      const text = await dig(...words, 'AAAA', 'www.signed.com');
      assert.match(text, /status: NOERROR/);
      assert.match(text, /ANSWER: 0/);
    }
  },
  'bogus: nothing to whom it would mislead': async () => {
    for (const name of ['www.bogus.com', 'six.bogus.com'])
      assert.match(await dig('AAAA', name), /status: SERVFAIL[\s\S]*ANSWER: 0/);
  },
  'bogus, CD: the client looks at it itself': async () =>
    assert.deepEqual(await short('+cdflag', 'AAAA', 'six.bogus.com'), ['2001:db8:1::76']),
};

test('through Unbound', async (t) => {
  await useForwarders(SERVER4);
  for (const [what, run] of Object.entries(ask)) await t.test(what, run);
  await t.test('bogus: its extended error is passed on', async () => {
    for (const name of ['www.bogus.com', 'six.bogus.com'])
      assert.match(await dig('AAAA', name), /EDE: (6|7|9) /);
  });
  await t.test('kdig', async () => {
    const run = async (...words: string[]) => {
      const args = ['+short', `@${under('10.64.0.2')}`, ...words];
      const program = join(servers.kdig.root, 'usr/bin/kdig');
      return (await lab.runWith(servers.kdig.env, lab.client, program, args, 10_000)).stdout;
    };
    assert.equal(await run('AAAA', 'www.example.com'), `${WWW}\n`);
    assert.equal(await run('+tcp', 'AAAA', 'alias.example.com'), `www.example.com.\n${WWW}\n`);
    assert.equal(await run('-x', WWW), '8.8.8.8.in-addr.arpa.\nwww.example.com.\n');
  });
  await t.test('getaddrinfo', async () => {
    lab.useNameServer(lab.client, under('10.64.0.2'));
    const code = `require('dns').lookup(process.argv[1], { all: true, family: 6 }, (e, all) => console.log(e ? e.code : all.map((a) => a.address).join()))`;
    const lookup = async (name: string) =>
      (await lab.run(lab.client, process.execPath, ['-e', code, name])).stdout.trim();
    assert.equal(await lookup('www.example.com'), WWW);
    assert.equal(await lookup('both.example.com'), '2001:db8:1::67');
    assert.equal(await lookup('none.example.com'), 'ENOTFOUND');
  });
});

test('through BIND', async (t) => {
  await useForwarders(`${SERVER4}:${BIND_PORT}`);
  for (const [what, run] of Object.entries(ask)) await t.test(what, run);
});

for (const [what, forwarder] of [
  ['TLS', `tls://${SERVER4}#${TLS_NAME}`],
  ['HTTPS', `https://${SERVER4}/dns-query#${TLS_NAME}`],
] as const) {
  test(`through Unbound over ${what}`, async (t) => {
    process.env.NODE_EXTRA_CA_CERTS = servers.certificateFile;
    try {
      const { lines } = await useForwarders(forwarder);
      for (const [name, run] of Object.entries(ask)) await t.test(name, run);
      // But for what a busy machine does to it.
      assert.deepEqual(
        lines.filter(({ level, event }) => Number(level) >= 40 && event !== 'main-thread-held-up'),
        [],
      );
    } finally {
      delete process.env.NODE_EXTRA_CA_CERTS;
    }
    await t.test('a certificate that nobody vouches for: no answer, and a warning', async () => {
      const untrusting = await useForwarders(forwarder);
      await untrusting.waitFor('dns64-no-forwarder');
      assert.match(await dig('AAAA', 'www.example.com'), /status: SERVFAIL[\s\S]*EDE: 23 /);
    });
  });
}

test('the name servers of resolv.conf, followed when it changes', async () => {
  lab.useNameServer(lab.gateway, '203.0.113.99');
  await gateway?.stop();
  gateway = await lab.startGateway({ toml: '[dns64]\nretry = 300\n' });
  await gateway.waitFor('dns64-no-forwarder');
  lab.useNameServer(lab.gateway, SERVER4);
  await gateway.waitFor('dns64-forwarders');
  assert.deepEqual(await short('AAAA', 'www.example.com'), [WWW]);
  assert.equal(await gateway.stop(), 0);
});
