/**
 * NAT44 for the pool: an nftables table that lives as long as a child `nft -i`.
 *
 * A table with `flags owner` belongs to the netlink socket that made it; the kernel drops it when that socket closes.
 * The child holds the socket, and ends when its standard input ends: when we close it, and also when we are killed.
 * Another program's `nft flush ruleset` (a firewall being reloaded) passes over such a table.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { formatPrefix4, type Prefix4 } from '../../wire/address.js';
import { missingTool, NetdevError, type NetdevLog, run, TOOL_ENV } from './command.js';

const WHAT = 'cannot set up masquerade';
/** How long the table may take to appear, and that of a killed gateway to go. */
const SETTLE_MSEC = 3000;
const POLL_MSEC = 25;
/** A child that died is started again after this long, doubled each time until one has lived for the longest wait. */
const RESTART_MIN_MSEC = 100;
const RESTART_MAX_MSEC = 60_000;

export interface MasqueradeRule {
  readonly device: string;
  /** The pool. */
  readonly source: Prefix4;
  /** True: whatever leaves by another device than ours. A name: what leaves by that one. */
  readonly outgoing: true | string;
}

/** The table's name: one a device, so that gateways coexist. nft takes letters, digits and `_.-` in it. */
export function tableName(device: string): string {
  return `nat64d-${device.replace(/[^A-Za-z0-9_.-]/g, '_')}`;
}

function ruleText({ device, source, outgoing }: MasqueradeRule): string {
  // nft has no escape for a quote in a string.
  const interfaceName = outgoing === true ? device : outgoing;
  if (/["\s]/.test(interfaceName)) throw new RangeError(`not an interface name: '${interfaceName}'`);
  const oif = `oifname ${outgoing === true ? '!= ' : ''}"${interfaceName}"`;
  return `ip saddr ${formatPrefix4(source)} ${oif} masquerade`;
}

/** The table, on one line as `nft -i` takes it. */
export function tableText(rule: MasqueradeRule, owned: boolean): string {
  const chain = `chain postrouting { type nat hook postrouting priority srcnat; policy accept; ${ruleText(rule)}; }`;
  return `table inet ${tableName(rule.device)} { ${owned ? 'flags owner; ' : ''}${chain}; }\n`;
}

/** Another rule in the place of the table's, on one line and so in one step. */
export function changeText(rule: MasqueradeRule): string {
  const chain = `inet ${tableName(rule.device)} postrouting`;
  return `flush chain ${chain}; add rule ${chain} ${ruleText(rule)}\n`;
}

/** Says for a person what the rule does. */
export function describeRule({ device, source, outgoing }: MasqueradeRule): string {
  const where = outgoing === true ? `anything but ${device}` : outgoing;
  return `${formatPrefix4(source)} leaving by ${where} (nftables table inet ${tableName(device)})`;
}

export class Masquerade {
  #rule: MasqueradeRule;
  readonly #log: NetdevLog;
  readonly #table: string;
  /** Holds the table. */
  #child: ChildProcess | null = null;
  /** Whether the table is a plain one, which only a command removes. */
  #plain = false;
  #restarting: Promise<void> | null = null;
  #restartTimer: NodeJS.Timeout | undefined;
  #restartMsec = RESTART_MIN_MSEC;
  #stopped = false;

  private constructor(rule: MasqueradeRule, log: NetdevLog) {
    this.#rule = rule;
    this.#log = log;
    this.#table = tableName(rule.device);
  }

  /** Puts the table up. @throws NetdevError */
  static async start(rule: MasqueradeRule, log: NetdevLog): Promise<Masquerade> {
    const masquerade = new Masquerade(rule, log);
    await masquerade.#removeLeftover();
    const words = await masquerade.#hold();
    if (words !== null) await masquerade.#fallBack(words);
    return masquerade;
  }

  /** Puts another rule about the same device in the place of this one. @throws NetdevError */
  async change(rule: MasqueradeRule): Promise<void> {
    this.#rule = rule;
    const text = changeText(rule);
    // A child that makes its table now was given the rule before this.
    await this.#restarting;
    if (this.#child === null) {
      // One that is started later takes the new rule.
      if (this.#plain) await run(WHAT, 'nft', ['-f', '-'], { input: text });
      return;
    }
    // The table is its own: nobody else may change it.
    this.#child.stdin?.write(text);
    const deadline = performance.now() + SETTLE_MSEC;
    const list = () => run(WHAT, 'nft', ['list', 'table', 'inet', this.#table]);
    while (!(await list()).includes(ruleText(rule))) {
      if (performance.now() > deadline) {
        throw new NetdevError(
          'COMMAND_FAILED',
          `${WHAT}: the rule of the nftables table inet ${this.#table} did not change`,
        );
      }
      await sleep(POLL_MSEC);
    }
  }

  /** Takes the table down. Idempotent; throws only where a plain table cannot be removed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#restartTimer);
    await this.#restarting;
    if (this.#child !== null) await endChild(this.#child);
    if (this.#plain) await this.#deleteTable();
    this.#plain = false;
  }

  async #exists(): Promise<boolean> {
    try {
      await run(WHAT, 'nft', ['list', 'table', 'inet', this.#table]);
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  async #deleteTable(): Promise<void> {
    try {
      await run(WHAT, 'nft', ['delete', 'table', 'inet', this.#table]);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }

  /** Removes the table of a gateway that died. One that is owned goes by itself, moments after its gateway. */
  async #removeLeftover(): Promise<void> {
    const deadline = performance.now() + SETTLE_MSEC;
    while (await this.#exists()) {
      try {
        await this.#deleteTable();
      } catch (error) {
        if (!(error instanceof NetdevError) || error.code !== 'NOT_PERMITTED') throw error;
        if (performance.now() > deadline) {
          throw new NetdevError(
            'TABLE_IN_USE',
            `${WHAT}: the nftables table inet ${this.#table} belongs to another running process. Is there another nat64d with the device ${this.#rule.device}? 'ss -f netlink -p' shows the nft that holds it; end it, or choose another [device] name.`,
          );
        }
        await sleep(POLL_MSEC);
      }
    }
  }

  /** Starts the child and waits for its table. @returns null, or why there is none, in the child's words */
  async #hold(): Promise<string | null> {
    // A session of its own: the Ctrl-C that goes to our whole process group must not reach it before we are done.
    const child = spawn('nft', ['-i'], { detached: true, env: TOOL_ENV, stdio: ['pipe', 'ignore', 'pipe'] });
    const startedAt = performance.now();
    let words = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      words += text;
    });
    child.stdin.on('error', () => {});
    try {
      await once(child, 'spawn');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw missingTool(WHAT, 'nft');
      throw error;
    }
    child.once('exit', () => {
      if (this.#child === child) this.#onChildDied(performance.now() - startedAt);
    });
    child.stdin.write(tableText(this.#rule, true));
    try {
      const deadline = performance.now() + SETTLE_MSEC;
      while (!hasEnded(child) && words === '' && performance.now() < deadline) {
        if ((await this.#exists()) && !hasEnded(child)) {
          this.#child = child;
          return null;
        }
        await sleep(POLL_MSEC);
      }
    } finally {
      if (this.#child !== child) await endChild(child);
    }
    return words.trim().replace(/\s*\n\s*/g, '; ') || "'nft -i' made no table";
  }

  #onChildDied(livedMsec: number): void {
    this.#child = null;
    if (this.#stopped) return;
    if (livedMsec >= RESTART_MAX_MSEC) this.#restartMsec = RESTART_MIN_MSEC;
    this.#log.error(
      `the nft process that held the masquerade table has ended: the pool leaves unmasqueraded until another is up, in ${this.#restartMsec} ms`,
    );
    this.#restartTimer = setTimeout(() => {
      this.#restarting = this.#restart();
    }, this.#restartMsec);
    this.#restartMsec = Math.min(this.#restartMsec * 2, RESTART_MAX_MSEC);
  }

  /** Never rejects. */
  async #restart(): Promise<void> {
    const words = await this.#hold().catch((error: Error) => error.message);
    if (words === null) {
      this.#log.info('masquerade is up again');
    } else {
      this.#log.error(`${WHAT}: ${words}`);
      this.#onChildDied(0);
    }
  }

  /** Kernels before 5.12 know no owner: a plain table, removed by `stop` or by the next start. */
  async #fallBack(words: string): Promise<void> {
    try {
      await run(WHAT, 'nft', ['-f', '-'], { input: tableText(this.#rule, false) });
    } catch (error) {
      if (error instanceof NetdevError && /Could not process rule/.test(error.words)) {
        throw new NetdevError(
          'NO_NAT',
          `${error.message} The kernel may lack nftables NAT (modules nft_chain_nat and nft_masq).`,
          error.words,
        );
      }
      throw error;
    }
    this.#plain = true;
    this.#log.warn(
      `nftables cannot bind the masquerade table to this process (${words}): after a kill -9 it stays until the next start, or 'nft delete table inet ${this.#table}'`,
    );
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof NetdevError && /No such file or directory/.test(error.words);
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Ends the child by closing its input, and by force if it does not follow; its table is gone when this returns. */
async function endChild(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const exited = once(child, 'exit');
  child.stdin?.end();
  const force = setTimeout(() => child.kill('SIGKILL'), 2000);
  await exited;
  clearTimeout(force);
}
