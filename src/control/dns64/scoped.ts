/**
 * Addresses of another scope, as totd shows them: who asks from a link-local or unique-local address finds each host under the
 * prefix of that scope too, and may ask for the names of such addresses. The interface identifiers must be the same.
 */
import { type Address6, maskAddress6, type Prefix6, prefix6Contains } from '../../wire/address.js';
import type { ScopedConfig } from '../config/types.js';
import {
  ANSWER,
  CLASS_IN,
  FLAG_AA,
  foldName,
  parseMessage,
  readName,
  TYPE_AAAA,
  TYPE_CNAME,
  TYPE_PTR,
} from './message.js';
import { type Query, type Reply, writtenReply } from './query.js';
import { parseReverse6, ptrQuestion, reverseName6 } from './reverse.js';
import { addressBytes, addressOf, coversType } from './synthesize.js';
import { MessageWriter } from './writer.js';

/** An address with a prefix in the place of its first bits. */
function under({ address, length }: Prefix6, host: Address6): Address6 {
  const kept = maskAddress6(host, length);
  return address.map((word, i) => word | ((host[i] as number) ^ (kept[i] as number))) as unknown as Address6;
}

/** The reply with another AAAA behind each that lies in a scope's `from`; it is no longer what was signed. */
export function withScoped(query: Query, reply: Reply, scoped: readonly ScopedConfig[]): Reply {
  const message = parseMessage(reply.body);
  if (message === null) return reply;
  const more = (address: Address6) =>
    scoped.filter(({ from }) => prefix6Contains(from, address)).map(({ to }) => under(to, address));
  const isAddress = (record: (typeof message.records)[number]) =>
    record.section === ANSWER && record.type === TYPE_AAAA && record.class === CLASS_IN;
  const added = message.records.flatMap((one) => (isAddress(one) ? more(addressOf(message, one)) : []));
  if (added.length === 0) return reply;
  const writer = new MessageWriter(message.flags & FLAG_AA, query.question);
  for (const record of message.records) {
    if (coversType(message, record, TYPE_AAAA)) continue;
    writer.copy(message, record);
    if (!isAddress(record)) continue;
    const owner = readName(message.bytes, record.nameAt);
    for (const address of more(addressOf(message, record))) {
      writer.record(owner, TYPE_AAAA, CLASS_IN, record.ttl, addressBytes(address), ANSWER);
    }
  }
  return { ...writtenReply(query, writer, reply.rcode), errors: reply.errors };
}

/** The PTR query that is meant by one for an address in a scope's `to`: for the same host under `from`. Null: none. */
export function unscopedQuery(query: Query, scoped: readonly ScopedConfig[]): Query | null {
  if (scoped.length === 0 || query.qtype !== TYPE_PTR || query.qclass !== CLASS_IN) return null;
  const address = parseReverse6(query.name);
  if (address === null) return null;
  const scope = scoped.find(({ to }) => prefix6Contains(to, address));
  if (scope === undefined) return null;
  const name = reverseName6(under(scope.from, address));
  return { ...query, question: ptrQuestion(name), name };
}

/** The reply to that query as one to the query that was sent. */
export function rescopedReply(query: Query, unscoped: Query, reply: Reply): Reply {
  const message = parseMessage(reply.body);
  if (message === null) return reply;
  const writer = new MessageWriter(message.flags & FLAG_AA, query.question);
  const owner = query.question.toString('latin1', 0, query.question.length - 4);
  for (const record of message.records) {
    const isRenamed =
      record.section === ANSWER && foldName(readName(message.bytes, record.nameAt)) === unscoped.name;
    if (!isRenamed) writer.copy(message, record);
    else if (record.type === TYPE_PTR || record.type === TYPE_CNAME) {
      const target = readName(message.bytes, record.rdataAt);
      writer.nameRecord(owner, record.type, CLASS_IN, record.ttl, target, ANSWER);
    }
  }
  return { ...writtenReply(query, writer, reply.rcode), errors: reply.errors };
}
