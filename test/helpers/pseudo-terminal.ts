/** Runs a program on a pseudo-terminal. Node has none of its own; python3, which node-gyp needs anyway, has. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Speaks lines on its standard input: `size ROWS COLUMNS`, `keys HEX`, `signal NUMBER`. What the terminal shows goes to standard
 * output; at the end, `exit STATUS` and whether the terminal is as it was go to standard error.
 */
const DRIVER = `
import fcntl, os, pty, select, struct, sys, termios
def resize(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
master, slave = pty.openpty()
resize(master, 24, 80)
before = termios.tcgetattr(slave)
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in 0, 1, 2: os.dup2(slave, fd)
    os.execvp(sys.argv[1], sys.argv[1:])
commands = b''
done = 0
while True:
    # Once: it is nobody's child any more while the rest of what it wrote is read.
    if not done: done, status = os.waitpid(pid, os.WNOHANG)
    ready, _, _ = select.select([master, 0], [], [], 0.02)
    if master in ready:
        sys.stdout.buffer.write(os.read(master, 65536)); sys.stdout.buffer.flush()
    elif done:
        break
    if 0 in ready and not done:
        commands += os.read(0, 4096)
        while b'\\n' in commands:
            line, commands = commands.split(b'\\n', 1)
            word, *rest = line.decode().split()
            if word == 'size': resize(master, int(rest[0]), int(rest[1]))
            if word == 'keys': os.write(master, bytes.fromhex(rest[0]))
            if word == 'signal': os.kill(pid, int(rest[0]))
code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
sys.stderr.write('exit %d\\n' % code)
sys.stderr.write('restored\\n' if termios.tcgetattr(slave) == before else 'changed\\n')
`;

export class PseudoTerminal {
  readonly #child: ChildProcess;
  /** All that the program has written, with ␛ for the escape character. */
  output = '';
  /** Exit status (negative: a signal), and whether the terminal's settings are what they were. */
  readonly ended: Promise<{ status: number; isRestored: boolean }>;

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    const child = spawn('python3', ['-c', DRIVER, command, ...args], {
      env: { ...process.env, TERM: 'xterm', ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child = child;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.output += text.replaceAll('\x1b', '␛');
    });
    const lines: string[] = [];
    createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
    this.ended = new Promise((resolve, reject) => {
      child.once('close', () => {
        const status = lines.find((line) => line.startsWith('exit '));
        if (status === undefined) reject(new Error(lines.join('\n')));
        else resolve({ status: Number(status.slice(5)), isRestored: lines.includes('restored') });
      });
    });
    // Where a test ends before.
    this.ended.catch(() => {});
  }

  /** Sets its size, as a window that is dragged does. */
  resize(rows: number, columns: number): void {
    this.#child.stdin?.write(`size ${rows} ${columns}\n`);
  }

  press(keys: string): void {
    this.#child.stdin?.write(`keys ${Buffer.from(keys).toString('hex')}\n`);
  }

  signal(number: number): void {
    this.#child.stdin?.write(`signal ${number}\n`);
  }

  /** Waits, half a minute at most, until something is shown behind `from`; where it begins. */
  async shown(pattern: RegExp, from = 0): Promise<number> {
    const endMs = performance.now() + 30_000;
    for (;;) {
      const at = this.output.slice(from).search(pattern);
      if (at >= 0) return from + at;
      if (performance.now() > endMs)
        throw new Error(`${pattern} is not shown:\n${JSON.stringify(this.output.slice(from))}`);
      await sleep(10);
    }
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }
}
