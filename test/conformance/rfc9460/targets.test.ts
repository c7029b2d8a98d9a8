/** RFC 9460 section 4.2.1: HTTPS and SVCB through a DNS64. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AD, type Ask, CD, gateway, RA, RD } from '../rfc6147/harness.js';
import { names } from '../rfc6147/names.js';

/** As dns-packet calls them. */
const TYPES = { HTTPS: 'UNKNOWN_65', SVCB: 'UNKNOWN_64' };

const wire = (name: string) =>
  Buffer.from(
    `${name
      .split('.')
      .filter((label) => label !== '')
      .map((label) => String.fromCharCode(label.length) + label)
      .join('')}\0`,
    'latin1',
  ).toString('hex');
/** Priority, TargetName, and ipv4hint=192.0.2.1, ipv6hint=2001:db8::1 (section 7.3). */
const HINTS = '00040004c0000201000600102001 0db8000000000000000000000001'.replace(' ', '');
const service = (target: string) => `0001${wire(target)}${HINTS}`;
const alias = (target: string) => `0000${wire(target)}`;

interface Row {
  title: string;
  answer: string[];
  additional?: string[];
  toml?: string;
  ask?: Partial<Ask>;
  flags?: number;
  /** What is added behind the records that came. */
  made: string[];
  /** What came, as far as it is left; default: all of it. */
  kept?: string[];
}

const OWN = [`www.example 300 HTTPS ${service('')}`];
const OTHER = [`www.example 300 HTTPS ${service('svc.example')}`];
const A = 'svc.example 300 A 192.0.2.1';
const MADE = 'svc.example 300 AAAA 2001:db8:64::c000:201';

const ROWS: Row[] = [
  { title: 'an AAAA is made from the A of the target', answer: OTHER, additional: [A], made: [MADE] },
  {
    title: "'.' stands for the owner (section 2.5)",
    answer: OWN,
    additional: ['WWW.example 300 A 192.0.2.1'],
    made: ['WWW.example 300 AAAA 2001:db8:64::c000:201'],
  },
  {
    title: 'an alias form has a target too',
    answer: [`www.example 300 HTTPS ${alias('svc.example')}`],
    additional: [A],
    made: [MADE],
  },
  {
    title: "an alias to '.' has none (section 2.5.1)",
    answer: [`www.example 300 HTTPS ${alias('')}`],
    additional: ['www.example 300 A 192.0.2.1'],
    made: [],
  },
  {
    title: 'a target that is an alias of another name in the additional section',
    answer: OTHER,
    additional: ['svc.example 30 CNAME cdn.example', 'cdn.example 300 A 192.0.2.1'],
    made: ['cdn.example 300 AAAA 2001:db8:64::c000:201'],
  },
  { title: 'no A there: nothing is added, nobody asked', answer: OTHER, made: [] },
  {
    title: 'a target with an AAAA keeps it',
    answer: OTHER,
    additional: [A, 'svc.example 300 AAAA 2001:db8::5'],
    made: [],
  },
  {
    title: 'an excluded AAAA is replaced (RFC 6147 section 5.1.4)',
    answer: OTHER,
    additional: [A, 'svc.example 300 AAAA 64:ff9b::5'],
    kept: [A],
    made: [MADE],
  },
  {
    title: 'an A of another name is left alone',
    answer: OTHER,
    additional: [A, 'ns.example 300 A 192.0.2.53'],
    made: [MADE],
  },
  {
    title: 'the TTL is 600 at most',
    answer: OTHER,
    additional: ['svc.example 3000 A 192.0.2.1'],
    made: ['svc.example 600 AAAA 2001:db8:64::c000:201'],
  },
  {
    title: 'CD=1 gets what came',
    answer: OTHER,
    additional: [A],
    ask: { flags: RD | CD },
    flags: RD | RA | CD,
    made: [],
  },
  {
    title: 'exclude-names hold for the target',
    answer: OTHER,
    additional: [A],
    toml: 'exclude-names = ["svc.example"]',
    made: [],
  },
  {
    title: 'exclude-names hold for the name asked for',
    answer: OTHER,
    additional: [A],
    toml: 'exclude-names = ["www.example"]',
    made: [],
  },
  { title: 'synthesize = false', answer: OTHER, additional: [A], toml: 'synthesize = false', made: [] },
  { title: 'exclude-ipv4', answer: OTHER, additional: [A], toml: 'exclude-ipv4 = ["192.0.2.1"]', made: [] },
  {
    title: 'DO=1: the signature over the HTTPS record is left, AD too, which is about the answer',
    answer: [...OTHER, 'www.example 300 RRSIG HTTPS'],
    additional: [A, 'svc.example 300 RRSIG A'],
    ask: { edns: 1232, dnssecOk: true },
    flags: RD | RA | AD,
    made: [MADE],
  },
  {
    title: 'DO=1 with break-dnssec = false: nothing is made from a signed A',
    answer: [...OTHER, 'www.example 300 RRSIG HTTPS'],
    additional: [A, 'svc.example 300 RRSIG A'],
    toml: 'break-dnssec = false',
    ask: { edns: 1232, dnssecOk: true },
    flags: RD | RA | AD,
    made: [],
  },
];

for (const row of ROWS) {
  for (const [name, type] of Object.entries(TYPES)) {
    test(`RFC 9460 4.2.1 ${name}: ${row.title}`, async () => {
      const answer = row.answer.map((one) => one.replace('HTTPS', type));
      const additional = row.additional ?? [];
      const gate = await gateway(
        { [`www.example ${type}`]: { answer, additional, flags: AD } },
        { names: names(row.toml ?? '') },
      );
      try {
        const reply = await gate.ask({ name: 'www.example', type, ...row.ask });
        assert.equal(reply.rcode, 0);
        // The hints are in there, bit for bit.
        assert.deepEqual(reply.answer, answer);
        assert.deepEqual(reply.additional, [...(row.kept ?? additional), ...row.made]);
        assert.equal(reply.flags, row.flags ?? RD | RA);
        assert.equal(gate.server.asked.length, 1);
      } finally {
        await gate.close();
      }
    });
  }
}

for (const rdata of ['', '00', '0001', '000105', `0001${wire('svc.example').slice(0, 8)}`, '0001c00c']) {
  test(`RFC 9460: RDATA '${rdata}' that is cut off or compressed is passed on`, async () => {
    const answer = [`www.example 300 UNKNOWN_65 ${rdata}`];
    const gate = await gateway({ 'www.example UNKNOWN_65': { answer, additional: [A] } });
    try {
      const reply = await gate.ask({ name: 'www.example', type: TYPES.HTTPS });
      assert.deepEqual([reply.answer, reply.additional], [answer, [A]]);
    } finally {
      await gate.close();
    }
  });
}
