/** `nat64ctl capture`: frames on both sides of the translator, into a pcapng file or as lines. */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { CaptureChunk } from '../../control/capture/captures.js';
import { blocksIn, readPacket } from '../../control/capture/pcapng.js';
import type { ControlClient } from '../../control/control-socket/client.js';
import { formatCount } from './format.js';
import { describePacket, showPacket } from './packet-line.js';
import { CommandError, ENDING_SIGNALS, type Io } from './session.js';

export interface CaptureOptions {
  /** A file, or '-' for standard output; undefined: lines. */
  readonly write?: string;
  readonly host?: string;
  readonly side: string;
  /** 0: without end. */
  readonly count: number;
  readonly snaplen: number;
  readonly json: boolean;
}

interface Sink {
  /** Whole blocks. */
  write(bytes: Uint8Array): void;
  close(): void;
}

/** Ends at a signal, when it has as many frames as are wanted, or with the connection. Rejects with CommandError. */
export async function runCapture(client: ControlClient, io: Io, options: CaptureOptions): Promise<void> {
  const { host = null, side, count, snaplen: snapLength } = options;
  const sink = openSink(io, options);
  let frames = 0;
  let lost = 0;
  let onEnd = () => {};
  const ended = new Promise<void>((resolve) => {
    onEnd = resolve;
  });
  const take = (chunk: CaptureChunk) => {
    lost = chunk.lost;
    for (const { isPacket, bytes } of blocksIn(chunk.pcapng)) {
      if (isPacket) {
        // What was on its way when there were enough.
        if (count !== 0 && frames === count) continue;
        frames++;
      }
      sink.write(bytes);
    }
    if (count !== 0 && frames === count) onEnd();
  };
  const summary = () => `${formatCount(frames)} frames captured, ${formatCount(lost)} lost for want of room`;
  for (const signal of ENDING_SIGNALS) process.once(signal, onEnd);
  try {
    const subscription = await client.subscribe('capture', { host, side, snapLength }, (event) =>
      take(event as CaptureChunk),
    );
    const reason = await Promise.race([ended, client.closed]);
    if (reason instanceof Error)
      throw new CommandError(`${reason.message}; ${summary()}, and what is written is whole`);
    take((await client.request('unsubscribe', { subscription })) as CaptureChunk);
  } finally {
    for (const signal of ENDING_SIGNALS) process.removeListener(signal, onEnd);
    sink.close();
  }
  io.err(`${summary()}\n`);
}

function openSink(io: Io, { write: file, json }: CaptureOptions): Sink {
  if (file === undefined) {
    const show = json
      ? (packet: ReturnType<typeof readPacket>) => JSON.stringify(describePacket(packet))
      : showPacket;
    const write = (block: Uint8Array) => {
      for (const { isPacket, bytes } of blocksIn(block)) if (isPacket) io.out(`${show(readPacket(bytes))}\n`);
    };
    return { write, close: () => {} };
  }
  if (file === '-') {
    if (process.stdout.isTTY)
      throw new CommandError('a terminal is no place for pcapng: name a file, or pipe it into tshark -r -');
    return { write: (bytes) => void process.stdout.write(bytes), close: () => {} };
  }
  try {
    // What people send each other is nobody else's business.
    const descriptor = openSync(file, 'w', 0o600);
    return {
      write: (bytes) => {
        for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
      },
      close: () => closeSync(descriptor),
    };
  } catch (error) {
    throw new CommandError(`${file} cannot be written: ${(error as Error).message}`);
  }
}
