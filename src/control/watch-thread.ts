/** The thread that watches the main thread; see heartbeat.ts. Nothing here may wait for that one, not even for the log. */
import { writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import native from '#native';
import { HELD_UP_MS, type WatchTask } from './heartbeat.js';

const LOOK_MS = 1000;
/** From then on who reads standard error is told, for nobody knows whether it will ever end. */
const SAY_MS = 5000;

const { beats, notifyFd, watchdogMs } = workerData as WatchTask;
const words = new Int32Array(beats);
let lastBeat = 0;
let beatMs = performance.now();
let isHeldUp = false;
let isSaid = false;

/** Who does not listen is not told; that is no reason to stop looking. */
function attempt(telling: () => void): void {
  try {
    telling();
  } catch {
    // Neither systemd nor standard error can be told what is wrong with them.
  }
}

function tell(state: string): void {
  attempt(() => native.sendDatagram(notifyFd, Buffer.from(state)));
}

function say(text: string): void {
  attempt(() => writeSync(2, `${text}\n`));
}

function look(): void {
  const beat = Atomics.load(words, 0);
  if (beat === 0) return;
  const nowMs = performance.now();
  if (beat !== lastBeat) {
    lastBeat = beat;
    beatMs = nowMs;
    if (isHeldUp) tell('STATUS=serving');
    isHeldUp = isSaid = false;
  }
  const heldMs = nowMs - beatMs;
  if (heldMs < HELD_UP_MS) {
    if (watchdogMs !== null) tell('WATCHDOG=1');
    return;
  }
  isHeldUp = true;
  const text = `the main thread has been held up for ${Math.floor(heldMs / 1000)} s: new hosts and DNS wait, established flows pass`;
  tell(`STATUS=${text}`);
  if (heldMs >= SAY_MS && !isSaid) {
    isSaid = true;
    say(text);
  }
}

// A service manager that gives less than two seconds gets four signs in that time.
parentPort?.postMessage('watching');
setInterval(look, Math.min(LOOK_MS, (watchdogMs ?? LOOK_MS * 4) / 4));
