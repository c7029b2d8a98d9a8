/** What would become of a packet, in words: the decisions of the translators about its addresses, from control's own tables. */
import {
  type Address6,
  formatAddress4,
  formatAddress6,
  formatPrefix4,
  formatPrefix6,
  parseAddress4,
} from '../../wire/address.js';
import { usableMtu } from '../settings.js';
import { Addressing } from './addressing.js';
import type { Subject } from './subject.js';

export type Address =
  | { readonly family: 4; readonly address: number }
  | { readonly family: 6; readonly address: Address6 };

export interface Trace {
  /** What was decided, in order. */
  readonly steps: readonly string[];
  /** `pass` where only one end is known, and nothing about it stands in the way. */
  readonly verdict: 'translated' | 'hairpin' | 'answered' | 'held' | 'dropped' | 'pass';
  /** The counter that a drop adds to. */
  readonly reason: string | null;
  /** Addresses of the packet that leaves. */
  readonly source: string | null;
  readonly destination: string | null;
}

/** What one end becomes. */
interface End {
  readonly step: string;
  readonly verdict?: 'hairpin' | 'answered' | 'held' | 'dropped';
  readonly reason?: string;
  readonly out?: string;
}

const show4 = formatAddress4;
const show6 = formatAddress6;
const ADVICE: Readonly<Record<string, string>> = {
  'drop-v4-address':
    'such an address is never forwarded (loopback, link-local, multicast, class E or "this network")',
  'drop-non-global':
    'pref64 may not represent it (RFC 6052 section 3.1: the Well-Known Prefix stands for global addresses only; see wkpf-strict)',
};

/** A packet from one address to another of the same family. */
export function tracePacket(subject: Subject, source: Address, destination: Address): Trace {
  const at = new Addressing(subject);
  const [to, from] =
    source.family === 6 && destination.family === 6
      ? [
          destination6(at, subject, destination.address),
          () => source6(at, subject, source.address, destination.address),
        ]
      : source.family === 4 && destination.family === 4
        ? [destination4(at, destination.address, source.address), () => source4(at, source.address)]
        : [mixed(), () => mixed()];
  if (to.verdict !== undefined && to.verdict !== 'hairpin') return finished([to], to);
  const ends = [to, from()];
  const [, last] = ends as [End, End];
  if (last.verdict !== undefined) return finished(ends, last);
  const { translation } = subject.config;
  const isFrom6 = source.family === 6;
  const mtu = (isFrom6 ? translation.ipv4Mtu : translation.ipv6Mtu) ?? usableMtu(subject.config);
  const steps = ends.map(({ step }) => step);
  if (to.verdict === 'hairpin') {
    const text = 'both ends are hosts behind us: translated twice, without leaving the worker (hairpin)';
    const between = parseAddress4(last.out ?? '');
    const shown = between === null ? null : at.embed(between);
    return {
      steps: [...steps, text],
      verdict: 'hairpin',
      reason: null,
      source: shown && show6(shown),
      destination: to.out ?? null,
    };
  }
  const sent = `sent into ${subject.device} as ${isFrom6 ? 'IPv4' : 'IPv6'}; up to ${mtu} bytes pass, the kernel's routes decide the rest`;
  return {
    steps: [...steps, sent],
    verdict: 'translated',
    reason: null,
    source: last.out ?? null,
    destination: to.out ?? null,
  };
}

/** A packet to one address, or from it, whatever the other end is. */
export function traceEnd(subject: Subject, end: Address, role: 'source' | 'destination'): Trace {
  const at = new Addressing(subject);
  let result: End;
  if (end.family === 6) {
    result =
      role === 'source' ? source6(at, subject, end.address, null) : destination6(at, subject, end.address);
  } else {
    result = role === 'source' ? source4(at, end.address) : destination4(at, end.address, null);
  }
  if (result.verdict !== undefined && result.verdict !== 'hairpin') return finished([result], result);
  const out = result.out ?? null;
  return {
    steps: [result.step],
    verdict: result.verdict ?? 'pass',
    reason: null,
    source: role === 'source' ? out : null,
    destination: role === 'destination' ? out : null,
  };
}

function finished(ends: readonly End[], { verdict, reason }: End): Trace {
  return {
    steps: ends.map(({ step }) => step),
    verdict: verdict ?? 'pass',
    reason: reason ?? null,
    source: null,
    destination: null,
  };
}

function drop(reason: string, step: string): End {
  return { verdict: 'dropped', reason, step };
}

function mixed(): End {
  return drop(
    'drop-not-ip',
    'a packet has addresses of one family at both ends: give two IPv4 addresses, or two IPv6 ones',
  );
}

function destination6(at: Addressing, subject: Subject, d: Address6): End {
  const text = show6(d);
  if (!at.isInPref64(d)) {
    if (at.isOwn6(d)) return answered(text);
    if (at.isForbidden6(d))
      return drop('drop-v6-address', `destination ${text}: such an address is never forwarded`);
    const ipv4 = at.explicit4(d);
    if (ipv4 !== null)
      return { step: `destination ${text}: explicit map to ${show4(ipv4)}`, out: show4(ipv4) };
    const { pref64 } = at;
    const under = pref64 === null ? 'there is no pref64' : `lies outside pref64 ${formatPrefix6(pref64)}`;
    return drop(
      'drop-v6-no-map-destination',
      `destination ${text}: ${under}, and no explicit map has it; answered with an ICMPv6 error`,
    );
  }
  const ipv4 = at.extract(d);
  const is = `destination ${text}: stands for ${show4(ipv4)} under pref64`;
  if (at.isOwn4(ipv4)) return answered(text);
  if (at.isInPool(ipv4) || at.explicit6(ipv4) !== null) {
    const host = at.hostOf4(ipv4);
    if (host === null) {
      return drop(
        'drop-v6-no-map-destination',
        `${is}, an address of the pool that no host has now; answered with an ICMPv6 error`,
      );
    }
    if (isLoop(at, host)) return loop(`${is}, which belongs to ${show6(host)}`);
    return { step: `${is}, which belongs to the host ${show6(host)}`, verdict: 'hairpin', out: show6(host) };
  }
  const refusal = at.whyNotRepresentable(ipv4);
  if (refusal !== null) return drop(refusal, `${is}; ${ADVICE[refusal]}`);
  return {
    step: `${is}, ${subject.config.device.masquerade === false ? 'on the IPv4 side' : 'on the IPv4 side, masqueraded'}`,
    out: show4(ipv4),
  };
}

function source6(at: Addressing, subject: Subject, s: Address6, destination: Address6 | null): End {
  const text = `source ${show6(s)}`;
  const entry = at.dynamicOf6(s);
  const live = at.inUse(entry);
  if (live !== null) {
    const idleSec = Math.max(subject.dataplane.nowSec() - live.lastUsedSec, 0);
    return {
      step: `${text}: dynamic map to ${show4(live.ipv4)}, last used ${idleSec} s ago`,
      out: show4(live.ipv4),
    };
  }
  const explicit = at.explicit4(s);
  if (explicit !== null) return { step: `${text}: explicit map to ${show4(explicit)}`, out: show4(explicit) };
  if (at.isForbidden6(s)) return drop('drop-v6-address', `${text}: such an address is never forwarded`);
  if (at.isOwn6(s))
    return drop('drop-loop', `${text}: the translator's own address; somebody else sends from it`);
  if (at.isInPref64(s) && !at.isDevice6(s)) {
    if (!subject.config.translation.clat || (destination !== null && at.isInPref64(destination))) {
      return drop(
        'drop-v6-source-in-pref64',
        `${text}: lies in pref64, where IPv4 hosts are; no IPv6 host may send from there`,
      );
    }
    return source4(at, at.extract(s), true);
  }
  if (!at.isDevice6(s) && !at.isAllowed6(s)) {
    return drop(
      'drop-v6-source-not-allowed',
      `${text}: not an address that hosts may send from (allow-from); who does is taken for a forger`,
    );
  }
  const pool = subject.dataplane.keeper?.pool;
  if (pool === undefined) return refused(`${text}: no map, and there is no pool4 to give it an address`);
  if (entry === null && pool.freeCount === 0 && pool.dormantCount === 0) {
    return refused(`${text}: no map, and every address of ${showPool(subject)} is in use`);
  }
  if (pool.isAtLimit(s)) {
    return drop(
      'drop-refused',
      `${text}: no live map, and its /64 has as many as max-maps-per-64 = ${subject.config.maxMapsPer64} allows; answered with an ICMPv6 error`,
    );
  }
  const again =
    entry === null
      ? `no map; its first packet is held until it has an address of ${showPool(subject)} (${pool.freeCount} free)`
      : `its map to ${show4(entry.ipv4)} rests; its first packet is held until it has that again`;
  return { step: `${text}: ${again}, then goes on`, verdict: 'held' };
}

function destination4(at: Addressing, d: number, source: number | null): End {
  const text = `destination ${show4(d)}`;
  if (at.isOwn4(d)) return answered(show4(d));
  const host = at.hostOf4(d);
  if (host !== null) {
    if (isLoop(at, host)) return loop(`${text}: belongs to ${show6(host)}`);
    const kind = at.explicit6(d) === null ? 'dynamic' : 'explicit';
    return { step: `${text}: ${kind} map to the host ${show6(host)}`, out: show6(host) };
  }
  if (at.isForbidden4(d)) return drop('drop-v4-address', `${text}: ${ADVICE['drop-v4-address']}`);
  const under = source === null ? null : clat(at, source, d);
  if (under !== null) return { step: `${text}: the IPv4 internet behind pref64 (clat)`, out: show6(under) };
  const why = at.isInPool(d) ? 'an address of the pool that no host has now' : 'no map has it';
  return drop('drop-v4-no-map-destination', `${text}: ${why}; answered with an ICMP error`);
}

function clat(at: Addressing, source: number, d: number): Address6 | null {
  if (!at.hasClat || at.isInPool(d) || at.whyNotRepresentable(d) !== null) return null;
  return at.explicit6(source) === null ? null : at.embed(d);
}

/** @param isOut the source of an IPv6 packet that stands for an IPv4 one (clat) */
function source4(at: Addressing, s: number, isOut = false): End {
  const text = `source ${show4(s)}`;
  const explicit = isOut ? null : at.explicit6(s);
  if (explicit !== null && !at.hasClat && at.isInPool(s) && !at.isDevice4(s)) return fromPool(text);
  if (explicit !== null) return { step: `${text}: explicit map to ${show6(explicit)}`, out: show6(explicit) };
  if (at.isOwn4(s))
    return drop('drop-loop', `${text}: the translator's own address; somebody else sends from it`);
  if (at.isInPool(s) && !at.isDevice4(s)) {
    return fromPool(text);
  }
  const refusal = at.whyNotRepresentable(s);
  if (refusal === 'drop-v4-address') return drop(refusal, `${text}: ${ADVICE[refusal]}`);
  if (refusal !== null) {
    return drop(
      'drop-v4-no-map-source',
      `${text}: ${at.pref64 === null ? 'there is no pref64 to show it under' : ADVICE['drop-non-global']}; answered with an ICMP error`,
    );
  }
  const under = at.embed(s) as Address6;
  const out = isOut ? show4(s) : show6(under);
  return { step: `${text}: shown as ${out}${isOut ? '' : ', under pref64'}`, out };
}

function fromPool(text: string): End {
  return drop(
    'drop-v4-source-in-pool4',
    `${text}: lies in pool4, whose hosts are behind us; nobody in front may send from there`,
  );
}

/** A host under pref64 would have its packets come back to us. */
function isLoop(at: Addressing, host: Address6): boolean {
  return at.isInPref64(host) && !at.isDevice6(host);
}

function loop(step: string): End {
  return drop('drop-loop', `${step}, which lies in pref64: it would come back here`);
}

function answered(address: string): End {
  return {
    step: `destination ${address}: the translator's own address; it answers ping, and refuses all else`,
    verdict: 'answered',
  };
}

function refused(step: string): End {
  return drop('drop-v6-no-map-source', `${step}; answered with an ICMPv6 error`);
}

function showPool({ config }: Subject): string {
  return config.pool4 === null ? 'the pool' : formatPrefix4(config.pool4);
}
