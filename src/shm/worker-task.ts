/** What control hands a worker, and the messages that pass between the two. Plain data: it crosses a thread boundary. */
import type { MessagePort } from 'node:worker_threads';
import type { Address6, Prefix4, Prefix6 } from '../wire/address.js';
import type { HostTableBuffers } from './host-table.js';

/** What the translator needs to know. All lengths in bytes; IPv4 addresses unsigned. */
export interface TranslatorSettings {
  /** Null: only explicit maps translate. */
  readonly pref64: Prefix6 | null;
  readonly wkpfStrict: boolean;
  /** The translator's own addresses: they answer ping and are the source of its ICMP errors. */
  readonly ipv4Address: number;
  readonly ipv6Address: Address6;
  readonly pool4: Prefix4 | null;
  /** Where hosts may send from, beside those of explicit maps and the kernel. */
  readonly allowFrom: readonly Prefix6[];
  /** The kernel's addresses on the device: the only ones in pref64 and pool4 that may be sources. */
  readonly deviceAddresses4: readonly number[];
  readonly deviceAddresses6: readonly Address6[];
  readonly ipv6Mtu: number;
  readonly ipv4Mtu: number;
  readonly lowestIpv6Mtu: number;
  readonly udpZeroChecksum: 'drop' | 'calc' | 'forward';
  readonly copyTrafficClass: boolean;
  readonly mssClamp: 'off' | 'auto';
  readonly icmpFragments: 'drop' | 'hold';
  /** Sources of ICMP errors whose own source has no map (RFC 6791). Null: the translator's own address. */
  readonly icmpSourcePool4: Prefix4 | null;
  /** Whether 240/4 may be a source or destination. */
  readonly forwardClassE: boolean;
  /** Whether hosts that explicit maps give an IPv4 address may reach pref64 with it, as with a CLAT (RFC 6877). */
  readonly clat: boolean;
  readonly icmpErrorsPerSec: number;
  readonly icmpErrorBurst: number;
  /** Which flows' frames are joined into super-frames on the way out. */
  readonly coalesce: 'none' | 'tcp' | 'all';
  /** What to log packet by packet. */
  readonly logPackets: readonly PacketKind[];
}

/** Dropped, answered with an ICMP error, an ICMP error in transit, or for the translator itself. */
export type PacketKind = 'drop' | 'reject' | 'icmp' | 'self';

/** Part of the addresses of one family. */
export type HostFilter =
  | { readonly family: 4; readonly prefix: Prefix4 }
  | { readonly family: 6; readonly prefix: Prefix6 };

/** What a worker copies for somebody who captures (capture-ring.ts). */
export interface CaptureTask {
  readonly id: number;
  readonly ring: SharedArrayBuffer;
  /** Null: frames of all hosts. */
  readonly host: HostFilter | null;
  readonly side: 'v6' | 'v4' | 'both';
  /** Bytes of a frame that are kept. */
  readonly snapLength: number;
}

/** What a reload can replace. */
export interface Tables {
  /** How many workers there are: each has its own part of what is shared out. */
  readonly workerCount: number;
  readonly settings: TranslatorSettings;
  readonly hosts: HostTableBuffers;
  readonly maps4: SharedArrayBuffer;
  readonly maps6: SharedArrayBuffer;
}

/** The argument of the endless task of one queue. */
export interface WorkerTask extends Tables {
  readonly worker: number;
  readonly fd: number;
  /** Niceness of the thread, where it may be set. */
  readonly nice: number;
  /** Whether the queue is served only once a message says so: `queue`. */
  readonly isWaiting: boolean;
  readonly state: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly ring: SharedArrayBuffer;
  /** Hosts that need a map, worker → control. */
  readonly questions: SharedArrayBuffer;
  /** What became of them, control → worker. */
  readonly answers: SharedArrayBuffer;
  /** Captures under way when it begins. */
  readonly captures: readonly CaptureTask[];
  /** Hosts of sampled frames, worker → control (dataplane/sampler.ts); null while nobody looks. */
  readonly samples: SharedArrayBuffer | null;
  readonly port: MessagePort;
}

/** Test hook: how a worker is to end. One that spins does not end by itself. */
export type HowToDie = 'throw' | 'exit' | 'spin';

/** Control → worker. */
export type ToWorker =
  /** Answers wait in the ring. */
  | { readonly type: 'answers' }
  /** Work with these from the next burst on, and say `reloaded`. */
  | { readonly type: 'reload'; readonly tables: Tables }
  /** Nothing comes to the queue any more: serve what is in it, leave it, and say `drained`. */
  | { readonly type: 'drain' }
  /** Serve this queue from now on. */
  | { readonly type: 'queue'; readonly fd: number }
  /** Leave the queue, and end the task as soon as no frame is held any more. */
  | { readonly type: 'retire' }
  /** Copy frames from the next burst on. */
  | { readonly type: 'capture'; readonly capture: CaptureTask }
  /** The capture of this id is over. */
  | { readonly type: 'capture-end'; readonly id: number }
  /** Tell of the hosts of some frames in this ring, or no more. */
  | { readonly type: 'sample'; readonly samples: SharedArrayBuffer | null }
  /** Finish the burst, give up the queue, end the task. */
  | { readonly type: 'stop' }
  /** Test hook: end in this way. */
  | { readonly type: 'die'; readonly how: HowToDie };

/** Worker → control. */
export type FromWorker =
  /** The queue is being served. */
  | { readonly type: 'serving' }
  /** Questions wait in the ring. */
  | { readonly type: 'questions' }
  /** No burst uses the tables before those of the last reload any more. */
  | { readonly type: 'reloaded' }
  /** The queue is empty, and left. */
  | { readonly type: 'drained' }
  /** Packets to be logged. */
  | { readonly type: 'packets'; readonly notes: readonly PacketNote[]; readonly left: number };

/** What became of a packet, as text for the log. */
export interface PacketNote {
  readonly kind: PacketKind;
  /** Name of the counter that it added to, or '' where it passed. */
  readonly reason: string;
  readonly source: string;
  readonly destination: string;
  /** Protocol or next header. */
  readonly protocol: number;
  readonly length: number;
}
