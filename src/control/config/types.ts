/** The configuration in force: what every config format (TOML, tayga.conf) becomes. */
import type { Address6, Prefix4, Prefix6 } from '../../wire/address.js';

/** An explicit address mapping (RFC 7757): `32 - ipv4.length <= 128 - ipv6.length`. */
export interface ExplicitMap {
  readonly ipv4: Prefix4;
  readonly ipv6: Prefix6;
}

/** An address with the length of the network it is on, as `ip addr add` takes it. */
export type InterfaceAddress =
  | { readonly family: 4; readonly address: number; readonly length: number }
  | { readonly family: 6; readonly address: Address6; readonly length: number };

export interface SocketAddress {
  /** Address text without brackets. */
  readonly address: string;
  readonly port: number;
}

export interface DeviceConfig {
  readonly name: string;
  readonly mtu: number;
  /** Addresses of the kernel on the device: those that DNS64 listens on and that the gateway's own traffic uses. */
  readonly addresses: readonly InterfaceAddress[];
  /** Whether the gateway sets up device, routes and sysctls itself. Without, the addresses are those that the kernel has. */
  readonly configure: boolean;
  /** What is set up even without `configure`: the device taken up, and routes through it beside those that follow from the rest. */
  readonly up: boolean;
  readonly routes: readonly (Prefix4 | Prefix6)[];
  /** Whether to turn forwarding on in the kernel; no effect without `configure`. */
  readonly forwarding: boolean;
  /** NAT44 for the pool: off, for everything that leaves by another device than ours, or by the named one. */
  readonly masquerade: boolean | string;
  /** Whether to use the kernel's offloads (super-frames). */
  readonly offload: boolean;
  /** Whether to join frames of a flow into super-frames on the way out; no effect without `offload`. */
  readonly coalesce: boolean;
}

export interface TranslationConfig {
  /** Null: the device's. */
  readonly ipv6Mtu: number | null;
  readonly ipv4Mtu: number | null;
  /** IPv4 packets with DF=0 are cut so that the IPv6 ones are no larger than this (RFC 7915 section 4). */
  readonly lowestIpv6Mtu: number;
  /** UDP over IPv4 with checksum 0: drop, compute, or pass on as 0 (RFC 6935). */
  readonly udpZeroChecksum: 'drop' | 'calc' | 'forward';
  /** Copy the traffic class (false: write 0). */
  readonly copyTrafficClass: boolean;
  readonly mssClamp: 'off' | 'auto';
  /** Fragmented ICMP: drop, or hold an echo's first fragment until the last shows the length. */
  readonly icmpFragments: 'drop' | 'hold';
  /** Sources of ICMP errors whose own source has no map (RFC 6791). Null: the translator's own address. */
  readonly icmpSourcePool4: Prefix4 | null;
  /** Translate packets from and to 240/4. */
  readonly forwardClassE: boolean;
  /** Hosts that explicit maps give an IPv4 address may reach pref64 with it: the customer's side of 464XLAT (RFC 6877). */
  readonly clat: boolean;
  /** ICMP errors of our own, per worker. */
  readonly icmpErrorsPerSec: number;
  readonly icmpErrorBurst: number;
}

export interface Dns64Config {
  readonly enabled: boolean;
  /** The prefix that it gives addresses under. Null: the translator's. */
  readonly pref64: Prefix6 | null;
  /** A port that is taken ends the gateway instead of running without DNS64. */
  readonly required: boolean;
  readonly listen: readonly SocketAddress[];
  /** Empty: the system's (/etc/resolv.conf). */
  readonly forwarders: readonly SocketAddress[];
  /** Clients that may ask. Null: loopback, link-local, unique-local, private ranges and the gateway's own networks. */
  readonly allowFrom: readonly (Prefix4 | Prefix6)[] | null;
}

/** What may be logged packet by packet: dropped, answered with an ICMP error, an ICMP error in transit, for the translator itself, a new map. */
export const PACKET_EVENTS = ['drop', 'reject', 'icmp', 'self', 'dyn'] as const;
export type PacketEvent = (typeof PACKET_EVENTS)[number];

export interface LogConfig {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** auto: pretty on a terminal, JSON otherwise. */
  readonly format: 'auto' | 'pretty' | 'json';
  readonly packets: readonly PacketEvent[];
}

export interface HttpConfig {
  /** Empty: no HTTP. */
  readonly listen: readonly SocketAddress[];
  /** What every request but for health must bring. Null: nothing, and only loopback addresses are listened on. */
  readonly token: string | null;
  /** Names in a Host header, beside addresses and localhost. */
  readonly names: readonly string[];
}

export interface GatewayConfig {
  /** The file it came from, for messages. */
  readonly file: string;
  /** What is allowed but hardly meant, each a line with its place. */
  readonly warnings: readonly string[];
  /** Null: none, only explicit maps translate. */
  readonly pref64: Prefix6 | null;
  /** Refuse to represent non-global IPv4 addresses under the Well-Known Prefix (RFC 6052 section 3.1). */
  readonly wkpfStrict: boolean;
  /** The translator's own addresses: sources of its ICMP errors; they answer ping. Never the kernel's. */
  readonly ipv4Address: number;
  readonly ipv6Address: Address6;
  /** Null: no dynamic maps. */
  readonly pool4: Prefix4 | null;
  readonly maps: readonly ExplicitMap[];
  /** A file of further explicit maps, read again at each reload. Absolute. */
  readonly mapFile: string | null;
  /** A dynamic map is valid this long after its last packet. */
  readonly mapLifetimeSec: number;
  /** Dynamic maps that one IPv6 /64 may hold at a time. 0: no limit. */
  readonly maxMapsPer64: number;
  /** Worker threads, one queue each. 0: one per CPU. */
  readonly workers: number;
  /** Holds dynamic.map. Null: dynamic maps are forgotten at exit. */
  readonly dataDir: string | null;
  /** Holds what a next start needs to clean up after a crash, and the control socket. */
  readonly runDir: string;
  /** The group whose members may use the control socket, by name or number; null is the gateway's own. */
  readonly controlGroup: string | null;
  /** Whether there is a control socket at all. */
  readonly controlSocket: boolean;
  readonly device: DeviceConfig;
  readonly translation: TranslationConfig;
  readonly dns64: Dns64Config;
  readonly http: HttpConfig;
  readonly log: LogConfig;
}
