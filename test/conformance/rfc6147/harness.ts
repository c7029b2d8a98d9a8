/**
 * A scripted name server and a DNS64 in front of it, both on loopback, and a client. Records are written as text,
 * `www.example 300 A 192.0.2.1`; names without the final dot.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import dnsPacket from 'dns-packet';
import { plainForwarder } from '#nat64d/control/config/forwarder.js';
import type { ForwarderConfig } from '#nat64d/control/config/types.js';
import { type Dns64, type Dns64Options, startDns64 } from '#nat64d/control/dns64/index.js';
import { parsePrefix6 } from '#nat64d/wire/address.js';

export const RA = 0x80;
export const RD = 0x100;
export const TC = 0x200;
export const AA = 0x400;
export const AD = 0x20;
export const CD = 0x10;
export const SERVFAIL = 2;
export const NXDOMAIN = 3;

/** What the scripted server says to one question. */
export interface Scripted {
  answer?: string[];
  authority?: string[];
  additional?: string[];
  rcode?: number;
  /** Beside QR, RD and RA. */
  flags?: number;
  /** An extended error (RFC 8914). */
  extendedError?: number;
  /** Silence. */
  silent?: boolean;
  /** Over UDP: TC=1 and nothing. */
  truncate?: boolean;
  delayMs?: number;
  /** The whole message but for its id. */
  raw?: (query: Buffer) => Buffer;
  /** Datagrams sent before the answer over UDP. */
  before?: (query: Buffer) => Buffer[];
}

/** By `name TYPE`; a name with nothing scripted does not exist. `*` stands for all others. */
export type Script = Record<string, Scripted>;

export interface Asked {
  name: string;
  type: string;
  transport: 'udp' | 'tcp';
  flags: number;
  dnssecOk: boolean;
  edns: boolean;
}

export function record(text: string): dnsPacket.Answer {
  const [name, ttl, type, ...data] = text.split(' ') as [string, string, string, ...string[]];
  const base = { name, ttl: Number(ttl), type };
  const typed: Record<string, () => unknown> = {
    SOA: () => ({
      mname: 'ns.example',
      rname: 'root.example',
      serial: 1,
      refresh: 2,
      retry: 3,
      expire: 4,
      minimum: Number(data[0]),
    }),
    RRSIG: () => ({
      typeCovered: data[0],
      algorithm: 8,
      labels: 2,
      originalTTL: 300,
      expiration: 2,
      inception: 1,
      keyTag: 1,
      signersName: 'example',
      signature: Buffer.from('signed'),
    }),
    MX: () => ({ preference: Number(data[0]), exchange: data[1] }),
    SRV: () => ({ priority: 0, weight: 0, port: Number(data[0]), target: data[1] }),
    UNKNOWN_64: () => Buffer.from(data[0] ?? '', 'hex'),
    UNKNOWN_65: () => Buffer.from(data[0] ?? '', 'hex'),
  };
  return { ...base, data: typed[type]?.() ?? data.join(' ') } as dnsPacket.Answer;
}

interface RdataFields {
  minimum: number;
  typeCovered: string;
  preference: number;
  exchange: string;
  port: number;
  target: string;
}

/** The text of a decoded record, as above. */
export function text(answer: dnsPacket.Answer): string {
  const { name, ttl, type, data } = answer as { name: string; ttl: number; type: string; data: never };
  const typed: Record<string, (value: RdataFields) => string> = {
    SOA: (soa) => String(soa.minimum),
    RRSIG: (rrsig) => String(rrsig.typeCovered),
    MX: (mx) => `${mx.preference} ${mx.exchange}`,
    SRV: (srv) => `${srv.port} ${srv.target}`,
  };
  const shown = Buffer.isBuffer(data) ? (data as Buffer).toString('hex') : String(data);
  return `${name} ${ttl} ${type} ${typed[type]?.(data) ?? shown}`;
}

function scriptedMessage(query: dnsPacket.DecodedPacket, scripted: Scripted): Buffer {
  const records = (lines: string[] | undefined) => (lines ?? []).map(record);
  const additionals = records(scripted.additional);
  if (query.additionals?.some((one) => one.type === 'OPT')) {
    const options =
      scripted.extendedError === undefined
        ? []
        : [{ code: 15, data: Buffer.from([0, scripted.extendedError, 0x68, 0x69]) }];
    additionals.push({ type: 'OPT', name: '.', udpPayloadSize: 4096, flags: 0, options } as never);
  }
  return dnsPacket.encode({
    type: 'response',
    id: query.id ?? 0,
    flags: RD | RA | (scripted.flags ?? 0) | (scripted.rcode ?? 0),
    questions: query.questions ?? [],
    answers: records(scripted.answer),
    authorities: records(scripted.authority),
    additionals,
  });
}

export interface ScriptedServer {
  port: number;
  asked: Asked[];
  /** TCP connections so far. */
  connections: number;
  close(): Promise<void>;
}

/** The scripted name server, UDP and TCP on one port of 127.0.0.1. */
export async function scriptedServer(script: Script): Promise<ScriptedServer> {
  const asked: Asked[] = [];
  const timers = new Set<NodeJS.Timeout>();
  const respond = (query: Buffer, transport: 'udp' | 'tcp', reply: (bytes: Buffer) => void) => {
    const decoded = dnsPacket.decode(query) as dnsPacket.DecodedPacket & { flags: number };
    const { name, type } = (decoded.questions as dnsPacket.Question[])[0] as dnsPacket.Question;
    const opt = decoded.additionals?.find((one) => one.type === 'OPT') as { flags: number } | undefined;
    asked.push({
      name,
      type,
      transport,
      flags: decoded.flags & (RD | CD | AD),
      dnssecOk: ((opt?.flags ?? 0) & 0x8000) !== 0,
      edns: opt !== undefined,
    });
    const scripted = script[`${name.toLowerCase()} ${type}`] ?? script['*'] ?? { rcode: NXDOMAIN };
    if (scripted.silent) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      if (transport === 'udp') for (const bytes of scripted.before?.(query) ?? []) reply(bytes);
      if (scripted.raw !== undefined) {
        const bytes = scripted.raw(query);
        query.copy(bytes, 0, 0, Math.min(2, bytes.length));
        reply(bytes);
      } else if (scripted.truncate && transport === 'udp') reply(scriptedMessage(decoded, { flags: TC }));
      else reply(scriptedMessage(decoded, scripted));
    }, scripted.delayMs ?? 0);
    timers.add(timer);
  };
  for (;;) {
    const udp = createSocket('udp4');
    udp.bind(0, '127.0.0.1');
    await once(udp, 'listening');
    const { port } = udp.address();
    const sockets = new Set<Socket>();
    const tcp = createServer((socket) => {
      scripted.connections++;
      sockets.add(socket);
      socket.on('error', () => {});
      let data = Buffer.alloc(0);
      socket.on('data', (chunk) => {
        data = Buffer.concat([data, chunk]);
        while (data.length >= 2 && data.length >= 2 + data.readUInt16BE(0)) {
          const length = data.readUInt16BE(0);
          respond(data.subarray(2, 2 + length), 'tcp', (bytes) => socket.write(prefixed(bytes)));
          data = data.subarray(2 + length);
        }
      });
    });
    tcp.listen(port, '127.0.0.1');
    try {
      await once(tcp, 'listening');
    } catch {
      udp.close();
      continue;
    }
    udp.on('message', (query, from) =>
      respond(query, 'udp', (bytes) => udp.send(bytes, from.port, from.address)),
    );
    const scripted = {
      port,
      asked,
      connections: 0,
      close: async () => {
        for (const timer of timers) clearTimeout(timer);
        udp.close();
        for (const socket of sockets) socket.destroy();
        tcp.close();
        await once(tcp, 'close');
      },
    };
    return scripted;
  }
}

export function prefixed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

export interface Ask {
  name: string;
  type: string;
  class?: string;
  flags?: number;
  /** With an OPT of this payload size. */
  edns?: number;
  dnssecOk?: boolean;
  ednsVersion?: number;
}

export function encodeQuery(ask: Ask, id = 0x1234): Buffer {
  const additionals =
    ask.edns === undefined
      ? []
      : [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: ask.edns,
            flags: ask.dnssecOk ? 0x8000 : 0,
            ednsVersion: ask.ednsVersion ?? 0,
            options: [],
          },
        ];
  return dnsPacket.encode({
    type: 'query',
    id,
    flags: ask.flags ?? RD,
    questions: [{ name: ask.name, type: ask.type, class: ask.class ?? 'IN' } as dnsPacket.Question],
    additionals: additionals as never,
  });
}

export interface Reply {
  bytes: Buffer;
  id: number;
  rcode: number;
  /** Without QR and rcode. */
  flags: number;
  question: string;
  answer: string[];
  authority: string[];
  additional: string[];
  opt: { udpPayloadSize: number; extendedRcode: number; flags: number; errors: number[] } | null;
}

export function decodeReply(bytes: Buffer): Reply {
  const decoded = dnsPacket.decode(bytes) as dnsPacket.DecodedPacket & { flags: number };
  const plain = (answers: dnsPacket.Answer[] | undefined) =>
    (answers ?? []).filter((one) => one.type !== 'OPT').map(text);
  const opt = decoded.additionals?.find((one) => one.type === 'OPT') as
    | {
        udpPayloadSize: number;
        extendedRcode: number;
        flags: number;
        options: { code: number; data: Buffer }[];
      }
    | undefined;
  const asked = decoded.questions?.[0];
  return {
    bytes,
    id: bytes.readUInt16BE(0),
    rcode: decoded.flags & 0xf,
    flags: decoded.flags & 0x7ff0,
    question: asked === undefined ? '' : `${asked.name} ${asked.type}`,
    answer: plain(decoded.answers),
    authority: plain(decoded.authorities),
    additional: plain(decoded.additionals),
    opt:
      opt === undefined
        ? null
        : {
            udpPayloadSize: opt.udpPayloadSize,
            extendedRcode: opt.extendedRcode,
            flags: opt.flags,
            errors: opt.options.filter((one) => one.code === 15).map((one) => one.data.readUInt16BE(0)),
          },
  };
}

/** A forwarder on 127.0.0.1. */
export const at = (port: number): ForwarderConfig => plainForwarder({ address: '127.0.0.1', port });

export const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

export interface Gateway {
  dns64: Dns64;
  server: ScriptedServer;
  port: number;
  ask(query: Ask): Promise<Reply>;
  askTcp(query: Ask): Promise<Reply>;
  /** Sends bytes over UDP; the answer, or null after some silence. */
  send(bytes: Buffer, waitMs?: number): Promise<Buffer | null>;
  /** Brings other options into force. */
  reload(options: GatewayOptions): void;
  /** Closes all; asserts nothing: look at `dns64.stats` after it. */
  close(): Promise<void>;
}

export type GatewayOptions = Partial<Omit<Dns64Options, 'pref64'>> & { pref64?: string };

/** Short times, for scripts in which somebody is silent. */
export const IMPATIENT: GatewayOptions = {
  upstreamTimes: { tryMs: 200, budgetMs: 900 },
  answerTimes: { askAMs: 100, aaaaMs: 300 },
};

/** Options of one that remembers. */
export const CACHED: GatewayOptions = { cacheSizeBytes: 4 * 2 ** 20 };

/** A DNS64 on 127.0.0.1 in front of a scripted server; without a cache, but for CACHED. */
export async function gateway(script: Script, options: GatewayOptions = {}): Promise<Gateway> {
  const server = await scriptedServer(script);
  const full = (changed: GatewayOptions): Dns64Options => ({
    listen: [{ address: '127.0.0.1', port: 0 }],
    forwarders: [at(server.port)],
    checkForwarders: false,
    // TTLs are as they come, whenever they are asked for.
    cacheSizeBytes: 0,
    wkpfStrict: true,
    allowFrom: null,
    ownNetworks: () => [],
    log: QUIET,
    ...changed,
    pref64: parsePrefix6(changed.pref64 ?? '2001:db8:64::/96')!,
  });
  const dns64 = await startDns64(full(options));
  const port = dns64.listening[0]?.port ?? 0;
  const send = (bytes: Buffer, waitMs = 20_000) => sendUdp(port, bytes, waitMs);
  return {
    dns64,
    server,
    port,
    send,
    reload: (changed) => dns64.reload(full({ ...options, ...changed })),
    ask: async (query) => {
      const bytes = await send(encodeQuery(query));
      if (bytes === null) throw new Error(`no answer to ${query.name} ${query.type}`);
      return decodeReply(bytes);
    },
    askTcp: async (query) => decodeReply((await sendTcp(port, [encodeQuery(query)], 1))[0]!),
    close: async () => {
      await dns64.close();
      await server.close();
    },
  };
}

export async function sendUdp(
  port: number,
  bytes: Buffer,
  waitMs: number,
  address = '127.0.0.1',
): Promise<Buffer | null> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  try {
    const answered = once(socket, 'message').then(([answer]) => answer as Buffer);
    socket.send(bytes, port, address);
    return await Promise.race([answered, sleep(waitMs, null, { ref: false })]);
  } finally {
    socket.close();
  }
}

/** Sends messages down one connection in one write; `count` answers as they come. Fewer if the server ends it. */
export async function sendTcp(
  port: number,
  messages: Buffer[],
  count: number,
  halfClose = false,
): Promise<Buffer[]> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  const bytes = Buffer.concat(messages.map(prefixed));
  if (halfClose) socket.end(bytes);
  else socket.write(bytes);
  const answers: Buffer[] = [];
  let data = Buffer.alloc(0);
  for await (const chunk of socket) {
    data = Buffer.concat([data, chunk as Buffer]);
    while (data.length >= 2 && data.length >= 2 + data.readUInt16BE(0)) {
      const end = 2 + data.readUInt16BE(0);
      answers.push(data.subarray(2, end));
      data = data.subarray(end);
    }
    if (answers.length >= count) break;
  }
  socket.destroy();
  return answers;
}

/** A port of 127.0.0.1 that nothing listens on, UDP or TCP, as far as one can tell. */
export async function unusedPort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
