/** A connection within the process: what the other end sends is fed to it, and what is written to it is kept. */
import { Duplex } from 'node:stream';

export class FakeSocket extends Duplex {
  readonly written: Buffer[] = [];
  readonly remoteAddress = '127.0.0.1';

  constructor() {
    super({ allowHalfOpen: true });
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written.push(chunk);
    done();
  }

  // What servers ask of a real one.
  setTimeout(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}

/** Turns of the event loop until something is so; false where it does not become so. */
export async function within(turns: number, isSo: () => boolean): Promise<boolean> {
  for (let left = turns; left > 0 && !isSo(); left--) await new Promise((resolve) => setImmediate(resolve));
  return isSo();
}

const ownNames = () =>
  Object.getOwnPropertyNames(Object.prototype).length + Object.getOwnPropertyNames(Array.prototype).length;
const NAMES = ownNames();

/** A message or file of anybody's making must not change all objects of the program. */
export function assertUnpolluted(): void {
  if (ownNames() !== NAMES) throw new Error('the prototype of all objects has been changed');
}
