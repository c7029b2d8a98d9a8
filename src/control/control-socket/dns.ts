/** What the control socket asks of DNS64. */
import type { Dns64 } from '../dns64/index.js';
import type { Subject } from '../inspect/subject.js';
import { RequestError } from './protocol.js';

export function dns64Of(subject: Subject): Dns64 {
  if (subject.dns64 !== undefined) return subject.dns64;
  throw new RequestError('not-found', 'DNS64 is off: set enabled = true under [dns64], and a pref64');
}
