import { closeSync, ftruncateSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

/** The file that says which process serves. */
export class Pidfile {
  private constructor(
    private readonly file: string,
    private readonly fd: number,
  ) {}

  /** Throws where the process in it lives. */
  static take(file: string): Pidfile {
    const pid = readPid(file);
    if (pid !== null && pid !== process.pid && isAlive(pid)) {
      throw new Error(`${file}: process ${pid} lives; stop it, or remove the file if it is not totd`);
    }
    const fd = openSync(file, 'w', 0o644);
    writeFileSync(fd, `${process.pid}\n`);
    return new Pidfile(file, fd);
  }

  /** Another user than the one that made it may not remove it, and leaves it empty. */
  remove(): void {
    try {
      if (readPid(this.file) === process.pid) rmSync(this.file);
    } catch {
      ftruncateSync(this.fd);
    }
    closeSync(this.fd);
  }
}

function readPid(file: string): number | null {
  try {
    const text = readFileSync(file, 'utf8').trim();
    return /^[1-9][0-9]{0,9}$/.test(text) ? Number(text) : null;
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
