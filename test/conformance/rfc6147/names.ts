import { parseConfig } from '#nat64d/control/config/index.js';
import type { NamesConfig } from '#nat64d/control/config/synthesis.js';
import { namesOf } from '#nat64d/control/name-server.js';

/** What [dns64] with these lines says that clients get. */
export function names(lines: string): NamesConfig {
  return namesOf(parseConfig(`[dns64]\n${lines}\n`, 'f'));
}
