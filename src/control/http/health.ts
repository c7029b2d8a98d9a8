/** Whether the gateway does all that it is asked for. */
import type { Subject } from '../inspect/subject.js';

/** What is missing, a line each; empty where it is ready. */
export function readiness(subject: Subject | undefined): string[] {
  if (subject === undefined) return ['the gateway is starting or stopping'];
  const down = subject.dataplane.workers.filter(({ isRunning }) => !isRunning);
  return [
    ...(subject.deviceProblem === null ? [] : [subject.deviceProblem]),
    ...down.map(({ worker }) => `worker ${worker} is being replaced`),
    ...(subject.dns64?.failures ?? []).map(({ error }) => error.message),
  ];
}
