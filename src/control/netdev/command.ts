/** Runs `ip` and `nft`, and turns their failures into errors that say what to do. */
import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';
import native from '#native';
import { inSlices, type Sliced } from '../slices.js';

/** What the device set-up tells about itself; pino's loggers fit. */
export interface NetdevLog {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export type NetdevErrorCode =
  | 'NO_TOOL'
  | 'NOT_PERMITTED'
  | 'NO_DEVICE'
  | 'NO_IPV6'
  | 'NO_NAT'
  | 'TABLE_IN_USE'
  | 'RUN_DIR'
  | 'COMMAND_FAILED';

/** A step of the set-up that failed. The message says what failed, what the command said, and what to do. */
export class NetdevError extends Error {
  override readonly name = 'NetdevError';
  readonly code: NetdevErrorCode;
  /** The command's own words, empty where no command ran. */
  readonly words: string;

  constructor(code: NetdevErrorCode, message: string, words = '') {
    super(message);
    this.code = code;
    this.words = words;
  }
}

/** PATH of a service or of a shell without root's may lack the directories where `ip` and `nft` live. */
export const TOOL_ENV: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`,
  LC_ALL: 'C',
  // `nft -i` keeps a history file at home.
  HOME: '/nonexistent',
};

const TIMEOUT_SEC = 30;
/** Far fewer than any machine does. */
const LINES_PER_SEC = 500;

const PACKAGES = { ip: 'iproute2', nft: 'nftables' } as const;
export type Tool = keyof typeof PACKAGES;

/** Kernel words, the code they become, and what to do about them; the first that matches counts. */
const ADVICE: readonly (readonly [RegExp, NetdevErrorCode, string])[] = [
  [/Operation not permitted/, 'NOT_PERMITTED', 'Run as root, or give the service CAP_NET_ADMIN.'],
  [
    /Cannot find device|does not exist/,
    'NO_DEVICE',
    'The device has gone: see what removed it, or choose another [device] name.',
  ],
  [
    /IPv6 is disabled|Permission denied|Address family not supported/,
    'NO_IPV6',
    'IPv6 seems to be disabled here: set net.ipv6.conf.all.disable_ipv6 and net.ipv6.conf.default.disable_ipv6 to 0, and boot without ipv6.disable=1.',
  ],
];

/** `words`: what the tool said, or what became of it. */
function failure(what: string, tool: Tool, args: readonly string[], words: string): NetdevError {
  const advice = ADVICE.find(([pattern]) => pattern.test(words));
  return new NetdevError(
    advice?.[1] ?? 'COMMAND_FAILED',
    `${what}: '${[tool, ...args].join(' ')}' said: ${words}. ${advice?.[2] ?? 'Mend that, or set configure = false in [device] and set the device up yourself.'}`,
    words,
  );
}

export function missingTool(what: string, tool: Tool): NetdevError {
  return new NetdevError(
    'NO_TOOL',
    `${what}: there is no '${tool}' command. Install it (apt-get install ${PACKAGES[tool]}).`,
  );
}

/** The first file of this name in PATH that may be run. */
function pathOf(tool: Tool): string | undefined {
  return TOOL_ENV.PATH?.split(':')
    .map((folder) => join(folder, tool))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return statSync(file).isFile();
      } catch {
        return false;
      }
    });
}

/**
 * Runs a command to its end.
 * @param what what cannot be done if it fails, as the error begins ("cannot add routes")
 * @returns its standard output
 * @throws NetdevError
 */
export async function run(
  what: string,
  tool: Tool,
  args: readonly string[],
  { input = '', timeoutSec = TIMEOUT_SEC } = {},
): Promise<string> {
  const path = pathOf(tool);
  if (path === undefined) throw missingTool(what, tool);
  const env = Object.entries(TOOL_ENV).map(([name, value]) => `${name}=${value}`);
  const fail = (words: string) => failure(what, tool, args, words.trim().replace(/\s*\n\s*/g, '; '));
  const ended = await native
    .run(path, [tool, ...args], env, input, Math.ceil(timeoutSec * 1000))
    .catch((error: Error) => {
      throw fail(error.message);
    });
  if (ended.status !== 0) throw fail(ended.stderr || endOf(ended));
  return ended.stdout;
}

function endOf({ status, signal }: native.Ended): string {
  return signal === 0
    ? `nothing, and ended with status ${status}`
    : `nothing, and was ended by signal ${signal}`;
}

/** Runs `ip -j` and parses what it lists. */
export async function ipJson<T>(what: string, args: readonly string[]): Promise<T[]> {
  const text = await run(what, 'ip', ['-j', ...args]);
  return text.trim() === '' ? [] : (JSON.parse(text) as T[]);
}

/** Characters of a list that are parsed in one go. */
const PARSED_CHARS = 1 << 18;

/** The routes of the main table of a family, parsed in slices: there may be many thousands. */
export async function ipRoutes<T>(what: string, family: 4 | 6): Promise<T[]> {
  const text = await run(what, 'ip', ['-j', `-${family}`, 'route', 'show']);
  return text.trim() === '' ? [] : inSlices(parseList<T>(text));
}

/** A list whose objects begin with "dst", as no object inside of them does. */
function* parseList<T>(text: string): Sliced<T[]> {
  const all: T[] = [];
  for (let from = 0; from < text.length; ) {
    const at = text.indexOf('},{"dst"', from + PARSED_CHARS);
    const end = at < 0 ? text.length : at + 1;
    const part = `${from === 0 ? '' : '['}${text.slice(from, end)}${at < 0 ? '' : ']'}`;
    for (const one of JSON.parse(part) as T[]) all.push(one);
    from = at < 0 ? end : end + 1;
    // A part takes as long as many steps of other work.
    for (let i = 0; i < 32; i++) yield;
  }
  return all;
}

function batchOf(lines: readonly string[]) {
  return { input: `${lines.join('\n')}\n`, timeoutSec: TIMEOUT_SEC + lines.length / LINES_PER_SEC };
}

/** Runs lines of `ip` commands in one process; stops at the first that fails, and names it. */
export async function ipBatch(what: string, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  try {
    await run(what, 'ip', ['-batch', '-'], batchOf(lines));
  } catch (error) {
    const failed = error instanceof NetdevError ? /Command failed -:(\d+)/.exec(error.words) : null;
    if (failed === null) throw error;
    const { code, message, words } = error as NetdevError;
    throw new NetdevError(
      code,
      message.replace("'ip -batch -'", `'ip ${lines[Number(failed[1]) - 1]}'`).replace(`; ${failed[0]}`, ''),
      words,
    );
  }
}

/** Runs lines of `ip` commands that take something down; what has gone already is not a failure. */
export async function ipRemove(what: string, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  try {
    await run(what, 'ip', ['-force', '-batch', '-'], batchOf(lines));
  } catch (error) {
    const gone =
      /^(Cannot find device.*|RTNETLINK answers: (No such process|Cannot assign requested address|No such device)|Error: ipv[46]: (Address|FIB table|Route) .*|Command failed .*)$/;
    const rest = (error as NetdevError).words.split('; ').filter((line) => !gone.test(line));
    if (rest.length > 0) throw error;
  }
}
