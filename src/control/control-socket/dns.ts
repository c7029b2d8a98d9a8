/** What the control socket asks of DNS64. */
import { isDeepStrictEqual } from 'node:util';
import { formatPrefix6 } from '../../wire/address.js';
import { PREF64_LENGTHS, readPref64 } from '../../wire/rfc6052.js';
import type { Dns64 } from '../dns64/index.js';
import type { Subject } from '../inspect/subject.js';
import { RequestError } from './protocol.js';

/** More prefixes than anybody has. */
const MAX_PREFIXES = 64;

export function dns64Of(subject: Subject): Dns64 {
  if (subject.dns64 !== undefined) return subject.dns64;
  throw new RequestError('not-found', 'DNS64 is off: set enabled = true under [dns64], and a pref64');
}

/** The prefixes that answers are made under, after one has been added or dropped. */
export function dnsPrefixes(dns64: Dns64, change: 'add' | 'drop' | null, text: string) {
  const before = dns64.prefixes;
  if (change !== null) {
    const prefix = readPref64(text);
    if (prefix === null) {
      throw new RequestError(
        'bad-arguments',
        `'${text}' is not a prefix of a NAT64; give one as in 2001:db8:64::/96, of length ${PREF64_LENGTHS.join(', ')}, bits 64 to 71 zero`,
      );
    }
    const others = before.filter((one) => !isDeepStrictEqual(one, prefix));
    const isThere = others.length < before.length;
    if (change === 'drop' && !isThere)
      throw new RequestError('not-found', `answers are not made under ${text}; see: dns prefix list`);
    if (change === 'drop' && others.length === 0)
      throw new RequestError('bad-arguments', `${text} is the last prefix: add another one first`);
    if (change === 'add' && before.length >= MAX_PREFIXES)
      throw new RequestError('bad-arguments', `there are ${MAX_PREFIXES} prefixes already: drop one first`);
    if (change === 'drop' || !isThere) dns64.usePrefixes(change === 'add' ? [...before, prefix] : others);
  }
  return { prefixes: dns64.prefixes.map(formatPrefix6) };
}
