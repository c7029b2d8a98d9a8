/** Runs `ip` and `nft`, and turns their failures into errors that say what to do. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { inSlices, type Sliced } from '../slices.js';

const execFileAsync = promisify(execFile);

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

function failure(what: string, tool: Tool, args: readonly string[], error: unknown): NetdevError {
  const { code, stderr, message } = error as Error & { code?: string | number; stderr?: string };
  if (code === 'ENOENT') return missingTool(what, tool);
  const words = (stderr || message).trim().replace(/\s*\n\s*/g, '; ');
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
  try {
    const running = execFileAsync(tool, args, {
      env: TOOL_ENV,
      timeout: timeoutSec * 1000,
      // A router with a full BGP table lists a hundred megabytes of routes.
      maxBuffer: 1 << 29,
    });
    // A command that ends before it has read everything fails by its status, not by EPIPE here.
    running.child.stdin?.on('error', () => {}).end(input);
    return (await running).stdout;
  } catch (error) {
    throw failure(what, tool, args, error);
  }
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
