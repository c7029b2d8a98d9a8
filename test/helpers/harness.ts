/** Runs the translator on single frames, in memory, exactly as a worker calls it: same buffers, same context, same functions. */

import { randomFillSync } from 'node:crypto';
import { type Context, FORWARD, HOLD, type TranslatorMemory } from '#nat64d/dataplane/context.js';
import type { FrameWatcher } from '#nat64d/dataplane/frame-watcher.js';
import { createContext, translateFrame } from '#nat64d/dataplane/translate.js';
import { COUNTER_NAMES, type CounterName, createCounters, readCounters } from '#nat64d/shm/counters.js';
import { BURST_BYTES, createFrameRing, HEADROOM, SCRATCH_START } from '#nat64d/shm/frame-ring.js';
import { createHostTable, type HostTableBuffers, HostTableWriter } from '#nat64d/shm/host-table.js';
import { createPrefixTable } from '#nat64d/shm/prefix-table.js';
import type { TranslatorSettings } from '#nat64d/shm/worker-task.js';
import {
  type Address6,
  GLOBAL_AND_UNIQUE_LOCAL,
  parseAddress4,
  parseAddress6,
  parsePrefix4,
  parsePrefix6,
} from '#nat64d/wire/address.js';
import { TABULATION_WORDS } from '#nat64d/wire/tabulation.js';
import { VNET_HEADER } from '#nat64d/wire/vnet.js';

export const address4 = (text: string): number => {
  const address = parseAddress4(text);
  if (address === null) throw new Error(`not an IPv4 address: ${text}`);
  return address;
};
export const address6 = (text: string): Address6 => {
  const address = parseAddress6(text);
  if (address === null) throw new Error(`not an IPv6 address: ${text}`);
  return address;
};
export const prefix4 = (text: string) => {
  const prefix = parsePrefix4(text);
  if (prefix === null) throw new Error(`not an IPv4 prefix: ${text}`);
  return prefix;
};
export const prefix6 = (text: string) => {
  const prefix = parsePrefix6(text);
  if (prefix === null) throw new Error(`not an IPv6 prefix: ${text}`);
  return prefix;
};

/** A virtio-net header by its fields. */
export interface Vnet {
  flags: number;
  gsoType: number;
  hdrLen: number;
  gsoSize: number;
  csumStart: number;
  csumOffset: number;
}

const NO_VNET: Vnet = { flags: 0, gsoType: 0, hdrLen: 0, gsoSize: 0, csumStart: 0, csumOffset: 0 };

export interface Outcome {
  /** 'forward', 'hold', or the name of the drop counter. */
  verdict: string;
  frames: { vnet: Vnet; bytes: Uint8Array }[];
}

export interface HarnessOptions {
  settings?: Partial<TranslatorSettings>;
  pref64?: string;
  /** Explicit maps, as [IPv4 prefix, IPv6 prefix]. */
  maps?: readonly (readonly [string, string])[];
  /** Dynamic maps, as [IPv4 address in the pool, IPv6 host]. */
  hosts?: readonly (readonly [string, string])[];
  pool4?: string | null;
  workerCount?: number;
}

/** The gateway of most tests: pref64 64:ff9b:1::/96, pool 10.64.0.0/16, own addresses .0.1, kernel's .0.2, MTU 1500. */
export const DEFAULT_SETTINGS: TranslatorSettings = {
  pref64: prefix6('64:ff9b:1::/96'),
  wkpfStrict: true,
  ipv4Address: address4('10.64.0.1'),
  ipv6Address: address6('64:ff9b:1::10.64.0.1'),
  pool4: prefix4('10.64.0.0/16'),
  allowFrom: GLOBAL_AND_UNIQUE_LOCAL,
  deviceAddresses4: [address4('10.64.0.2')],
  deviceAddresses6: [address6('64:ff9b:1::10.64.0.2')],
  ipv6Mtu: 1500,
  ipv4Mtu: 1500,
  lowestIpv6Mtu: 1280,
  udpZeroChecksum: 'drop',
  copyTrafficClass: true,
  mssClamp: 'off',
  icmpFragments: 'drop',
  icmpSourcePool4: null,
  forwardClassE: false,
  clat: false,
  icmpErrorsPerSec: 1e9,
  icmpErrorBurst: 1e9,
  coalesce: 'none',
  logPackets: [],
};

const LIFETIME_SEC = 7440;
export const NOW_SEC = 2_000_000;

/** The host that most tests send from, with its map. */
export const HOST6 = '2001:db8:1::2';
export const HOST4 = '10.64.3.7';

export class Harness {
  readonly ctx: Context;
  readonly counters: SharedArrayBuffer;
  readonly hostBuffers: HostTableBuffers;
  readonly #writer: HostTableWriter;
  readonly #pool: number;

  constructor(options: HarnessOptions = {}) {
    const pool4 =
      options.pool4 === undefined
        ? DEFAULT_SETTINGS.pool4
        : options.pool4 === null
          ? null
          : prefix4(options.pool4);
    const settings: TranslatorSettings = {
      ...DEFAULT_SETTINGS,
      pool4,
      ...(options.pref64 === undefined ? {} : { pref64: prefix6(options.pref64) }),
      ...options.settings,
    };
    const pairs = (options.maps ?? []).map(([ipv4, ipv6]) => ({ ipv4: prefix4(ipv4), ipv6: prefix6(ipv6) }));
    const size = pool4 === null ? 0 : 2 ** (32 - pool4.length);
    this.#pool = pool4?.address ?? 0;
    const hosts = createHostTable(
      this.#pool,
      size,
      LIFETIME_SEC,
      randomFillSync(new Int32Array(TABULATION_WORDS)),
    );
    this.hostBuffers = hosts;
    this.#writer = new HostTableWriter(hosts);
    this.counters = createCounters(1);
    const memory: TranslatorMemory = {
      worker: 0,
      workerCount: options.workerCount ?? 1,
      settings,
      counters: this.counters,
      hosts,
      maps4: createPrefixTable(pairs, 4),
      maps6: createPrefixTable(pairs, 6),
      ring: createFrameRing(),
    };
    this.ctx = createContext(memory);
    this.ctx.nowSec = NOW_SEC;
    for (const [ipv4, ipv6] of options.hosts ?? [[HOST4, HOST6]]) if (size > 0) this.addHost(ipv4, ipv6);
  }

  addHost(ipv4: string, ipv6: string): void {
    const index = address4(ipv4) - this.#pool;
    this.ctx.hosts.lastSeen[index] = this.ctx.nowSec;
    this.#writer.publish(index, address6(ipv6), ++this.ctx.generation);
  }

  /** Sends one frame through the translator. */
  send(bytes: Uint8Array, vnet: Vnet = NO_VNET, at = 0, watcher: FrameWatcher | null = null): Outcome {
    const { ctx } = this;
    const offset = at + HEADROOM;
    if (offset + bytes.length > BURST_BYTES) throw new Error('frame does not fit the ring');
    ctx.u8.set(bytes, offset);
    putVnet(ctx, offset, vnet);
    ctx.listEnd = 0;
    ctx.listFrames = 0;
    ctx.scratchEnd = SCRATCH_START;
    watcher?.before(offset, bytes.length, true);
    const verdict = translateFrame(ctx, offset, bytes.length);
    watcher?.after(verdict);
    ctx.fragments?.reclaim();
    return { verdict: verdictName(verdict), frames: listedFrames(ctx.u8, ctx.list, ctx.listFrames) };
  }

  count(name: CounterName): number {
    return readCounters(this.counters)[name];
  }
}

/** The frames on a list as the native addon's `write` takes it. */
export function listedFrames(u8: Uint8Array, list: Int32Array, count: number): Outcome['frames'] {
  const frames: Outcome['frames'] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const pieces = list[at++] as number;
    const parts: Uint8Array[] = [];
    for (let piece = 0; piece < pieces; piece++) {
      const offset = list[at++] as number;
      parts.push(u8.slice(offset, offset + (list[at++] as number)));
    }
    const whole = Buffer.concat(parts);
    frames.push({
      vnet: {
        flags: whole.readUInt8(0),
        gsoType: whole.readUInt8(1),
        hdrLen: whole.readUInt16LE(2),
        gsoSize: whole.readUInt16LE(4),
        csumStart: whole.readUInt16LE(6),
        csumOffset: whole.readUInt16LE(8),
      },
      bytes: new Uint8Array(whole.subarray(VNET_HEADER)),
    });
  }
  return frames;
}

/** Writes a virtio-net header before `offset`. */
export function putVnet(ctx: Context, offset: number, vnet: Vnet): void {
  const header = offset - VNET_HEADER;
  ctx.u8[header] = vnet.flags;
  ctx.u8[header + 1] = vnet.gsoType;
  for (const [i, value] of [vnet.hdrLen, vnet.gsoSize, vnet.csumStart, vnet.csumOffset].entries()) {
    ctx.dv.setUint16(header + 2 + 2 * i, value, true);
  }
}

export function verdictName(verdict: number): string {
  if (verdict === FORWARD) return 'forward';
  return verdict === HOLD ? 'hold' : (COUNTER_NAMES[verdict] as string);
}
