/** All that is fuzzed, as the tests of `npm test` share it out among themselves. */
import { control } from './control.js';
import { dnsAnswers } from './dns-answers.js';
import { dnsQueries } from './dns-queries.js';
import { dnsTcp } from './dns-tcp.js';
import type { Target } from './driver.js';
import { framesTarget } from './frames.js';
import { http } from './http.js';
import { nativeFrames } from './native-stage.js';
import { texts } from './texts.js';

export const FRAMES: readonly Target[] = [framesTarget(), nativeFrames];
export const DNS: readonly Target[] = [dnsQueries, dnsAnswers, dnsTcp];
export const SERVICES: readonly Target[] = [control, http];
export const TEXTS: readonly Target[] = texts;

export const TARGETS: readonly Target[] = [...FRAMES, ...DNS, ...SERVICES, ...TEXTS];
