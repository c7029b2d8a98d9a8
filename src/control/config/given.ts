/** What the rules between keys need of a file, each value by itself: they hold where something else is wrong, too. */
import type * as z from 'zod';
import type { Address6, Prefix4, Prefix6 } from '../../wire/address.js';
import { schema } from './schema.js';
import type { InterfaceAddress } from './types.js';

/** Null: malformed, which the schema reports; rules about it are left out. Undefined: not in the file. */
export interface Given {
  readonly pref64: Prefix6 | false | null;
  readonly wkpfStrict: boolean | null;
  readonly ipv4Address: number | null | undefined;
  readonly ipv6Address: Address6 | null | undefined;
  readonly pool4: Prefix4 | false | null;
  readonly deviceAddresses: readonly (InterfaceAddress | null)[] | null | undefined;
  readonly maps: readonly GivenMap[];
  readonly user: string | null | undefined;
  readonly group: string | null | undefined;
  /** 240.0.0.0/4 may be used, as TAYGA allows. */
  readonly allowsClassE: boolean;
}

export interface GivenMap {
  readonly ipv4: Prefix4 | null;
  readonly ipv6: Prefix6 | null;
}

export function readGiven(data: unknown): Given {
  const { shape } = schema;
  const map = shape.map.unwrap().element.shape;
  const addresses = member(member(data, 'device'), 'addresses');
  const address = shape.device.unwrap().shape.addresses.unwrap().element;
  const maps = member(data, 'map');
  return {
    pref64: read(shape.pref64, member(data, 'pref64')),
    wkpfStrict: read(shape['wkpf-strict'], member(data, 'wkpf-strict')),
    ipv4Address: read(shape['ipv4-address'], member(data, 'ipv4-address')),
    ipv6Address: read(shape['ipv6-address'], member(data, 'ipv6-address')),
    pool4: read(shape.pool4, member(data, 'pool4')),
    deviceAddresses: Array.isArray(addresses)
      ? addresses.map((one) => read(address, one))
      : addresses === undefined
        ? undefined
        : null,
    maps: Array.isArray(maps)
      ? maps.map((one) => ({
          ipv4: read(map.ipv4, member(one, 'ipv4')),
          ipv6: read(map.ipv6, member(one, 'ipv6')),
        }))
      : [],
    user: read(shape.user, member(data, 'user')),
    group: read(shape.group, member(data, 'group')),
    allowsClassE: false,
  };
}

/** TOML has no null: here it is a member of what should be a table and is none. */
function member(table: unknown, key: string): unknown {
  if (table === undefined) return undefined;
  if (typeof table !== 'object' || table === null || Array.isArray(table)) return null;
  return Object.hasOwn(table, key) ? (table as Record<string, unknown>)[key] : undefined;
}

function read<T extends z.ZodType>(type: T, value: unknown): z.output<T> | null {
  const result = type.safeParse(value);
  return result.success ? result.data : null;
}
