/** DNS over TLS (RFC 7858), strict: the certificate must be valid and bear the configured name, or else the address. */
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import type tls from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import type { ForwarderConfig } from '../config/types.js';
import type { Dns64Stats } from './stats.js';
import { type StreamTimes, StreamTransport } from './upstream-stream.js';

/** RFC 7858 section 3.1 names no lower bound; RFC 8310 section 9 asks for 1.2. */
const MIN_VERSION = 'TLSv1.2';

const require = createRequire(import.meta.url);

/** Node's module. Only who asks a forwarder over TLS has it loaded: with HTTP/2 that is a tenth of the time that a start takes. */
export const loadTls = (): typeof tls => require('node:tls');

/** What a TLS connection to a forwarder needs, but for the protocol spoken inside. */
export function tlsOptions(forwarder: ForwarderConfig, ca: string | undefined): ConnectionOptions {
  const { address, port, serverName } = forwarder;
  return {
    host: address,
    port,
    minVersion: MIN_VERSION,
    // Without a name, the certificate must have the address (RFC 8310 section 8.1), and no name is sent.
    ...(serverName === null ? {} : { servername: serverName }),
    ...(ca === undefined ? {} : { ca }),
  };
}

export class TlsTransport extends StreamTransport {
  readonly padded = true;
  /** For resumption (RFC 8446 section 2.2). */
  #session: Buffer | undefined;

  constructor(
    private readonly forwarder: ForwarderConfig,
    stats: Dns64Stats,
    private readonly ca: string | undefined,
    times: StreamTimes,
  ) {
    super(forwarder, stats, times);
  }

  protected open(): { socket: Socket; readyEvent: string } {
    const session = this.#session === undefined ? {} : { session: this.#session };
    const socket = loadTls().connect({
      ...tlsOptions(this.forwarder, this.ca),
      ALPNProtocols: ['dot'],
      ...session,
    });
    socket.on('session', (ticket) => {
      this.#session = ticket;
    });
    // A session that the server will not have any more must not be tried again and again.
    socket.on('error', () => {
      this.#session = undefined;
    });
    return { socket, readyEvent: 'secureConnect' };
  }
}
