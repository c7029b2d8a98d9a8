/** What clients of DNS64 get where neither a file nor a policy says otherwise. */
import { type Prefix6, parsePrefix6 } from '../../wire/address.js';
import { WELL_KNOWN_PREFIX } from '../../wire/rfc6052.js';
import type { Dns64Config, SynthesisConfig } from './types.js';

export const DEFAULT_SYNTHESIS: SynthesisConfig = {
  synthesize: true,
  pref64s: [],
  pref64Choice: 'round-robin',
  // RFC 6147 section 5.1.4: ::ffff:0:0/96 by default; and nobody else's Well-Known Prefix leads to our translator.
  excludeAaaa: [parsePrefix6('::ffff:0:0/96') as Prefix6, WELL_KNOWN_PREFIX],
  excludeIpv4: [],
  excludeNames: [],
  ignoreAaaa: [],
  breakDnssec: true,
  reverse: 'cname',
};

/** What DNS64 does with names and clients, without what it listens on and asks. */
export type NamesConfig = SynthesisConfig &
  Pick<Dns64Config, 'clients' | 'policies' | 'reverse6to4' | 'scoped' | 'privateZones'>;

export const DEFAULT_NAMES: NamesConfig = {
  ...DEFAULT_SYNTHESIS,
  clients: null,
  policies: [],
  reverse6to4: false,
  scoped: [],
  privateZones: 'auto',
};
