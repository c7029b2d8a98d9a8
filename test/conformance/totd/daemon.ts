/** The program `totd` on loopback, in front of a scripted server. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { until } from '../../helpers/until.js';
import {
  type Ask,
  decodeReply,
  encodeQuery,
  type Reply,
  type Script,
  type ScriptedServer,
  scriptedServer,
  sendUdp,
  unusedPort,
} from '../rfc6147/harness.js';

const reverse6 = (digits: string) => `${digits.split('').reverse().join('.')}.ip6.arpa`;
export const STF = reverse6('2002c000020100000000000000000001');
/** TTLs are 0: the same whenever they are asked for. */
export const SCRIPT: Script = {
  'www.example AAAA': { authority: ['example 900 SOA 120'] },
  'www.example A': { answer: ['www.example 0 A 198.18.0.1'] },
  'eight.example AAAA': { authority: ['example 900 SOA 120'] },
  'eight.example A': { answer: ['eight.example 0 A 8.8.8.8'] },
  '1.2.0.192.in-addr.arpa PTR': { answer: ['1.2.0.192.in-addr.arpa 60 PTR six.example'] },
};
export const WWW = { name: 'www.example', type: 'AAAA' };
export const under = (prefix: string) => [`www.example 0 AAAA ${prefix}c612:1`];

export const TOTD = fileURLToPath(new URL('../../../../dist/bin/totd.js', import.meta.url));

/** Runs it to its end, as in a launcher that detaches or a start that fails. */
export function runTotd(
  ...args: string[]
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return runWith({}, TOTD, ...args);
}

/** The same of any program, with more in its environment. */
export function runWith(
  env: NodeJS.ProcessEnv,
  program: string,
  ...args: string[]
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [program, ...args], {
      timeout: 30_000,
      env: { ...process.env, ...env },
    });
    const said = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (data) => {
        said[name] += data;
      });
    }
    child.once('close', (status) => resolve({ status, ...said }));
  });
}

export class Daemon {
  readonly folder = mkdtempSync(join(tmpdir(), 'totd-test-'));
  readonly conf = join(this.folder, 'totd.conf');
  readonly pidfile = join(this.folder, 'totd.pid');
  output = '';
  child: ChildProcess | undefined;

  private constructor(
    readonly server: ScriptedServer,
    readonly port: number,
  ) {}

  static async prepare(script: Script): Promise<Daemon> {
    return new Daemon(await scriptedServer(script), await unusedPort());
  }

  /** A configuration that listens on loopback only, without root's folders; `lines` beside it. */
  write(lines = '', forwarder = `forwarder 127.0.0.1 port ${this.server.port}`): void {
    const own = `interfaces lo\nport ${this.port}\npidfile ${this.pidfile}\n`;
    writeFileSync(this.conf, `${forwarder}\n${own}${lines}\n`);
  }

  /** Starts it in the foreground and waits until it serves. */
  async start(lines = '', args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<void> {
    this.write(lines);
    const child = spawn(process.execPath, [TOTD, '-c', this.conf, '-d1', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => {
        this.output += data;
      });
    }
    await this.said('serving DNS64 on');
  }

  async said(text: string, count = 1): Promise<void> {
    const end = performance.now() + 10_000;
    while (this.output.split(text).length <= count) {
      if (performance.now() > end || this.child?.exitCode !== null)
        throw new Error(`no '${text}' in: ${this.output}`);
      await sleep(10);
    }
  }

  async ask(query: Ask, address = '127.0.0.1', waitMs = 5000): Promise<Reply> {
    const bytes = await sendUdp(this.port, encodeQuery(query), waitMs, address);
    if (bytes === null) throw new Error(`no answer to ${query.name}: ${this.output}`);
    return decodeReply(bytes);
  }

  pid(): number {
    return Number(readFileSync(this.pidfile, 'utf8'));
  }

  /** Ends the one that detached itself. */
  async stopDetached(): Promise<void> {
    const pid = this.pid();
    process.kill(pid, 'SIGTERM');
    await until(() => !existsSync(`/proc/${pid}`), `the end of ${pid}`);
  }

  /** Ends it; resolves with the exit code. */
  async stop(): Promise<number | null> {
    const { child } = this;
    if (child === undefined || child.exitCode !== null) return child?.exitCode ?? null;
    const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
    child.kill('SIGTERM');
    return ended;
  }

  async close(): Promise<void> {
    await this.stop();
    await this.server.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
