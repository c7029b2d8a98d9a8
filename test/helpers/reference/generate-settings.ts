/** fast-check: gateways of every setting, and the addresses that mean something to each. */
import fc from 'fast-check';
import type { TranslatorSettings } from '#nat64d/shm/worker-task.js';
import { type Address6, GLOBAL_AND_UNIQUE_LOCAL, type Prefix4, type Prefix6 } from '#nat64d/wire/address.js';
import { address4, type HarnessOptions, prefix4, prefix6 } from '../harness.js';
import { bigint6, embed, prefix } from './addresses.js';
import { bytesOf } from './bytes.js';

/** A gateway, and addresses by what they are to it. */
export interface Setup {
  readonly options: HarnessOptions;
  readonly pref64: string;
  readonly own4: bigint;
  readonly own6: bigint;
  readonly addresses4: ReadonlyMap<string, bigint>;
  readonly addresses6: ReadonlyMap<string, bigint>;
}

const PREFIXES = [
  '64:ff9b:1::/96',
  '64:ff9b::/96',
  '2001:db8::/32',
  '2001:db8:100::/40',
  '2001:db8:122::/48',
  '2001:db8:122:300::/56',
  '2001:db8:122:344::/64',
  '2001:db8:122:344::/96',
];

const MAPS: [string, string][] = [
  ['192.0.2.0/24', '2620:0:2::/120'],
  ['198.18.0.128/26', '2620:0:aaaa:dddd::/64'],
  ['198.18.0.150/32', '2620:0:3::5/128'],
  ['203.0.113.8/29', '2620:0:4::/48'],
  // Suffixes that begin in each 32-bit word, and cross into the next.
  ['172.28.0.0/16', '2a01::/24'],
  ['172.20.0.0/16', '2620:0:6::/56'],
  ['100.100.0.0/16', '2620:0:8::/84'],
  ['172.24.0.0/20', '2a02:8000::/20'],
  // Addresses of the pool.
  ['10.64.88.0/29', '2620:0:9::/125'],
];

const OWN4 = '10.64.0.1';
const DEVICE4 = '10.64.0.2';
/** Not under any of the prefixes above. */
const HOSTS: [string, string][] = [
  ['10.64.3.7', '2620:0:1::2'],
  ['10.64.9.9', '2620:0:1::3'],
];

const ipv4 = (text: string): bigint => BigInt(address4(text));
const ipv6 = (text: string): bigint => prefix(`${text}/128`).address;

function words(address: bigint): Address6 {
  const word = (i: number) => Number(BigInt.asIntN(32, address >> BigInt(96 - 32 * i)));
  return [word(0), word(1), word(2), word(3)];
}

function text6(address: bigint): string {
  return Buffer.from(bytesOf(address, 16)).toString('hex').match(/..../g)!.join(':');
}

interface Choice {
  readonly pref64: string;
  readonly hasPool: boolean;
  readonly hasPref64: boolean;
  readonly isOwnOutside: boolean;
  readonly settings: Partial<TranslatorSettings>;
}

function setup({ pref64, hasPool, hasPref64, isOwnOutside, settings }: Choice): Setup {
  const words64 = prefix6(pref64);
  const under = (text: string) =>
    embed({ address: bigint6(words64.address), length: words64.length, width: 128 }, ipv4(text));
  const own6 = isOwnOutside || !hasPref64 ? ipv6('2620:0:77::1') : under(OWN4);
  const device6 = under(DEVICE4);
  const hosts: [string, string][] = [
    ...HOSTS,
    ['10.64.200.1', text6(device6)],
    // A map that would send packets back into the tunnel.
    ['10.64.77.77', text6(under('9.9.9.9'))],
  ];
  const names4 = {
    server: '8.8.8.8',
    other: '1.2.3.4',
    host: '10.64.3.7',
    host2: '10.64.9.9',
    unmapped: '10.64.50.50',
    own: OWN4,
    device: DEVICE4,
    deviceHost: '10.64.200.1',
    looping: '10.64.77.77',
    private: '192.168.1.1',
    forbidden: '127.0.0.1',
    linkLocal: '169.254.3.3',
    zero: '0.0.0.0',
    multicast: '224.0.0.5',
    broadcast: '255.255.255.255',
    classE: '241.1.2.3',
    explicit: '192.0.2.77',
    explicitLong: '198.18.0.149',
    explicitLonger: '198.18.0.150',
    explicitShort: '203.0.113.13',
    explicitWord0: '172.28.171.205',
    explicitWord1: '172.20.171.205',
    explicitWord2: '100.100.171.205',
    explicitInWord0: '172.24.10.188',
    explicitInPool: '10.64.88.3',
  };
  const addresses4 = new Map(Object.entries(names4).map(([name, text]) => [name, ipv4(text)]));
  const addresses6 = new Map([
    ['host', ipv6('2620:0:1::2')],
    ['host2', ipv6('2620:0:1::3')],
    ['unmapped', ipv6('2620:0:1::99')],
    ['own', own6],
    ['linkLocal', ipv6('fe80::1')],
    ['loopback', ipv6('::1')],
    ['unspecified', 0n],
    ['multicast', ipv6('ff02::1')],
    ['explicit', ipv6('2620:0:2::4d')],
    ['explicitLong', ipv6('2620:0:aaaa:dddd:5400::')],
    ['explicitLongSuffix', ipv6('2620:0:aaaa:dddd:5400::7')],
    ['explicitLonger', ipv6('2620:0:3::5')],
    ['explicitShort', ipv6('2620:0:4:a000::')],
    ['explicitWord0', ipv6('2a01:ab:cd00::')],
    ['explicitWord1', ipv6('2620:0:6:ab:cd00::')],
    ['explicitWord2', ipv6('2620:0:8::abc:d000:0')],
    ['explicitInWord0', ipv6('2a02:8abc::')],
    ['explicitInPool', ipv6('2620:0:9::3')],
    ['notGlobal', ipv6('4000::1')],
    ['uniqueLocal', ipv6('fd00::7')],
    ['pref64/suffix', under('8.8.8.8') | (words64.length === 96 ? 0n : 5n)],
    ...Object.entries(names4).map(([name, text]): [string, bigint] => [`pref64/${name}`, under(text)]),
  ]);
  return {
    pref64,
    own4: ipv4(OWN4),
    own6,
    addresses4,
    addresses6,
    options: {
      pref64,
      maps: MAPS,
      hosts,
      ...(hasPool ? {} : { pool4: null }),
      settings: {
        ...settings,
        ...(hasPref64 ? {} : { pref64: null }),
        ipv6Address: words(own6),
        deviceAddresses6: [words(device6)],
      },
    },
  };
}

const usually = <T>(value: T, ...others: T[]) =>
  fc.oneof({ weight: 3 * others.length, arbitrary: fc.constant(value) }, fc.constantFrom(...others));

export const setups: fc.Arbitrary<Setup> = fc
  .record({
    pref64: fc.constantFrom(...PREFIXES),
    hasPool: fc.constantFrom(...new Array<boolean>(9).fill(true), false),
    hasPref64: fc.constantFrom(...new Array<boolean>(9).fill(true), false),
    isOwnOutside: usually(false, true),
    settings: fc.record({
      wkpfStrict: usually(true, false),
      ipv6Mtu: fc.constantFrom(1500, 1500, 1280, 1400, 9000),
      ipv4Mtu: fc.constantFrom(1500, 1500, 1280, 1400, 9000, 600),
      lowestIpv6Mtu: usually(1280, 1400, 1284),
      udpZeroChecksum: fc.constantFrom('drop', 'calc', 'forward'),
      copyTrafficClass: usually(true, false),
      mssClamp: fc.constantFrom('off', 'auto'),
      allowFrom: usually<readonly Prefix6[]>(
        GLOBAL_AND_UNIQUE_LOCAL,
        [],
        [prefix6('2620:0:1::/48'), prefix6('4000::/2')],
      ),
      forwardClassE: usually(false, true),
      clat: usually(false, true),
      icmpSourcePool4: usually<Prefix4 | null>(null, prefix4('100.64.7.0/29'), prefix4('9.9.9.9/32')),
    }) as fc.Arbitrary<Partial<TranslatorSettings>>,
  })
  .map(setup);

/** Names of addresses: mostly the usual ones, now and then any. */
function pick(setup: Setup, family: 4 | 6, ...usual: string[]): fc.Arbitrary<string> {
  const all = family === 4 ? setup.addresses4 : setup.addresses6;
  return fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...usual) },
    { weight: 1, arbitrary: fc.constantFrom(...all.keys()) },
  );
}

const any = setup({
  pref64: PREFIXES[0] as string,
  hasPool: true,
  hasPref64: true,
  isOwnOutside: false,
  settings: {},
});
const source6 = pick(any, 6, 'host', 'host', 'host', 'host2', 'explicitLong', 'explicitWord1');
const destination6 = pick(
  any,
  6,
  'pref64/server',
  'pref64/server',
  'pref64/host2',
  'pref64/explicit',
  'pref64/explicitWord2',
  'pref64/own',
  'explicitWord0',
  'explicitShort',
);
const source4 = pick(any, 4, 'server', 'server', 'explicitLong', 'device');
const destination4 = pick(any, 4, 'host', 'host', 'host2', 'explicit', 'explicitWord1', 'own');

/** Source and destination by name: every setup has the same names. */
export interface NamedEnds {
  readonly source: string;
  readonly destination: string;
}

export const namedEnds = (family: 4 | 6): fc.Arbitrary<NamedEnds> =>
  family === 6
    ? fc.record({ source: source6, destination: destination6 })
    : fc.record({ source: source4, destination: destination4 });

export function resolveEnds(setup: Setup, family: 4 | 6, ends: NamedEnds) {
  const all = family === 4 ? setup.addresses4 : setup.addresses6;
  return { source: all.get(ends.source) as bigint, destination: all.get(ends.destination) as bigint };
}
