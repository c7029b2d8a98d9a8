/** Memory that the C library keeps for itself. */
import native from '#native';

/** By then the start's modules are read and the JIT has compiled what the workers rehearse: tens of megabytes are free again. */
const FIRST_MS = 10_000;
const EVERY_MS = 60_000;

/**
 * Gives memory that is free back to the system, soon after the start and once a minute: each thread frees into an arena of its
 * own, which glibc would keep at its largest.
 * @returns ends that
 */
export function releaseMemoryRegularly(): () => void {
  const timers = [
    setTimeout(native.releaseMemory, FIRST_MS).unref(),
    setInterval(native.releaseMemory, EVERY_MS).unref(),
  ];
  return () => timers.forEach(clearTimeout);
}
