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

/** A name server to ask, and how. */
export interface ForwarderConfig extends SocketAddress {
  /** `udp`: with TCP for what is truncated. */
  readonly transport: 'udp' | 'tls' | 'https';
  /** The name that its certificate must have. Null: its address. */
  readonly serverName: string | null;
  /** Of `https`, else null. */
  readonly path: string | null;
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

/** Router advertisements that tell hosts of the gateway. */
export interface AdvertiseConfig {
  /** Where they are sent. Empty: none are. */
  readonly interfaces: readonly string[];
  /** Name servers to tell of. Null: the addresses that DNS64 answers on. */
  readonly dnsServers: readonly Address6[] | null;
  /** The longest time between two. */
  readonly intervalSec: number;
  /** How long hosts keep what they are told. Null: three intervals. */
  readonly lifetimeSec: number | null;
  readonly mtu: number | null;
  /** Hosts make addresses under it. Null: they learn that elsewhere. */
  readonly prefix: Prefix6 | null;
  /** Tell that the way to pref64 leads here (RFC 4191). */
  readonly route: boolean;
  /** 0: hosts do not take this machine for their default router. */
  readonly routerLifetimeSec: number;
}

/** A prefix that DNS64 gives addresses under. */
export interface Pref64Config {
  readonly prefix: Prefix6;
  /** The IPv4 addresses that it represents. Empty: all. */
  readonly ipv4: readonly Prefix4[];
  /** AAAA treated as absent because this prefix is in use, beside those of `excludeAaaa`. */
  readonly excludeAaaa: readonly Prefix6[];
}

/** Which prefix an answer gets where there are several: each in turn, by the IPv4 address, or one record under each. */
export const PREF64_CHOICES = ['round-robin', 'mapped', 'all'] as const;
export type Pref64Choice = (typeof PREF64_CHOICES)[number];

/** A PTR under a prefix: a CNAME into in-addr.arpa, the record found there under the name asked for, or as any other name. */
export const REVERSE_MODES = ['cname', 'rewrite', 'off'] as const;
export type ReverseMode = (typeof REVERSE_MODES)[number];

/** RFC 6303's zones: forwarded where all forwarders are loopback or private addresses, always, or never. */
export const PRIVATE_ZONES = ['auto', 'forward', 'local'] as const;
export type PrivateZones = (typeof PRIVATE_ZONES)[number];

/** What clients get: of [dns64] as a whole, and of each [[dns64.policy]]. */
export interface SynthesisConfig {
  /** False: they get what the forwarders say. */
  readonly synthesize: boolean;
  /** In order. Empty: the translator's prefix. */
  readonly pref64s: readonly Pref64Config[];
  readonly pref64Choice: Pref64Choice;
  /** AAAA treated as absent (RFC 6147 section 5.1.4); those under the prefixes themselves always are. */
  readonly excludeAaaa: readonly Prefix6[];
  /** A that are never synthesized from. */
  readonly excludeIpv4: readonly Prefix4[];
  /** Names, with all below them: never synthesized. Lower case, without the final dot. */
  readonly excludeNames: readonly string[];
  /** Names, with all below them: synthesized even where they have AAAA. */
  readonly ignoreAaaa: readonly string[];
  /** Synthesize over signed data for clients that set DO (RFC 6147 section 5.5). */
  readonly breakDnssec: boolean;
  readonly reverse: ReverseMode;
}

export interface Dns64PolicyConfig extends SynthesisConfig {
  readonly clients: readonly (Prefix4 | Prefix6)[];
}

/** Addresses under `from` are shown with `to` in its place to who asks from the same scope; both of one length. */
export interface ScopedConfig {
  readonly from: Prefix6;
  readonly to: Prefix6;
}

/** A file as it was when the configuration was read. */
export interface CertificateFile {
  readonly file: string;
  /** PEM. */
  readonly text: string;
}

export interface Dns64Config extends SynthesisConfig {
  readonly enabled: boolean;
  /** A port that is taken ends the gateway instead of running without DNS64. */
  readonly required: boolean;
  readonly listen: readonly SocketAddress[];
  /** Interfaces to listen on, all their addresses as they come and go; '*' is every interface. Beside `listen`. */
  readonly interfaces: readonly string[];
  /** Of the interfaces' addresses. */
  readonly port: number;
  /** Empty: the system's (/etc/resolv.conf). */
  readonly forwarders: readonly ForwarderConfig[];
  /** Whom forwarders over TLS and HTTPS have their certificates from. Null: the well-known authorities. */
  readonly forwardersCa: CertificateFile | null;
  /** Queries to forwarders get letters of random case, which the answer must have too. */
  readonly randomizeCase: boolean;
  /** A forwarder that does not answer is left alone this long. */
  readonly retrySec: number;
  /** Clients that may ask. Null: loopback, link-local, unique-local, private ranges and the gateway's own networks. */
  readonly allowFrom: readonly (Prefix4 | Prefix6)[] | null;
  /** Memory for answers; 0: nothing is remembered. */
  readonly cacheSizeBytes: number;
  /** Whether popular names are asked for again before their answers end. */
  readonly prefetch: boolean;
  /** How long after its time an answer is given where there is no other (RFC 8767); 0: not. */
  readonly serveStaleSec: number;
  /** Answer DNS cookies (RFC 7873). */
  readonly cookies: boolean;
  /** UDP answers a second for a client prefix; 0: no limit. */
  readonly rateLimit: number;
  /** Connections over all listeners. */
  readonly tcpConnections: number;
  readonly tcpIdleSec: number;
  /** Clients that get synthesized answers. Null: all. */
  readonly clients: readonly (Prefix4 | Prefix6)[] | null;
  /** For some clients, the first that names them; the others get what is said here. */
  readonly policies: readonly Dns64PolicyConfig[];
  /** A PTR under 2002::/16 that finds nothing is looked for under its IPv4 address (RFC 3056). */
  readonly reverse6to4: boolean;
  readonly scoped: readonly ScopedConfig[];
  readonly privateZones: PrivateZones;
}

/** What may be logged packet by packet: dropped, answered with an ICMP error, an ICMP error in transit, for the translator itself, a new map. */
export const PACKET_EVENTS = ['drop', 'reject', 'icmp', 'self', 'dyn'] as const;
export type PacketEvent = (typeof PACKET_EVENTS)[number];

/** What lines of packets and of new maps may have. */
export const LINE_LEVELS = ['debug', 'info', 'warn'] as const;
export type LineLevel = (typeof LINE_LEVELS)[number];

/** journal: standard output, with priorities as systemd's journal reads them. The file's name is absolute. */
export type LogDestination = 'stdout' | 'stderr' | 'journal' | 'syslog' | `file:/${string}`;

export interface LogConfig {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** auto: pretty on a terminal, JSON otherwise. */
  readonly format: 'auto' | 'pretty' | 'json';
  readonly packets: readonly PacketEvent[];
  /** Of the lines that `packets` asks for: those of packets, and those of new maps. */
  readonly packetLevel: LineLevel;
  readonly assignmentLevel: LineLevel;
  /** A line as each dynamic map starts, and one as it ends (RFC 6888 section 4). */
  readonly maps: boolean;
  readonly destination: LogDestination;
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
  /** Where hosts may send from, beside those of explicit maps. Null: any global or unique-local address. */
  readonly allowFrom: readonly Prefix6[] | null;
  readonly maps: readonly ExplicitMap[];
  /** A file of further explicit maps, read again at each reload. Absolute. */
  readonly mapFile: string | null;
  /** A dynamic map is valid this long after its last packet. */
  readonly mapLifetimeSec: number;
  /** Dynamic maps that one IPv6 /64 may hold at a time. 0: no limit. */
  readonly maxMapsPer64: number;
  /** Worker threads, one queue each. 0: one per CPU that the process may run on. */
  readonly workers: number;
  /** Niceness of the worker threads, where the gateway may set it. */
  readonly workerNice: number;
  /** Holds dynamic.map. Null: dynamic maps are forgotten at exit. */
  readonly dataDir: string | null;
  /** Holds what a next start needs to clean up after a crash, and the control socket. */
  readonly runDir: string;
  /** Whom a gateway that root starts becomes, by name or number. Null: nobody else. A user without a group brings its own. */
  readonly user: string | null;
  readonly group: string | null;
  /** The group whose members may use the control socket, by name or number; null is the gateway's own. */
  readonly controlGroup: string | null;
  /** Whether there is a control socket at all. */
  readonly controlSocket: boolean;
  readonly device: DeviceConfig;
  readonly translation: TranslationConfig;
  readonly advertise: AdvertiseConfig;
  readonly dns64: Dns64Config;
  readonly http: HttpConfig;
  readonly log: LogConfig;
}
