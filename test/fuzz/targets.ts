/** All that is fuzzed. */
import { control } from './control.js';
import { dnsAnswers } from './dns-answers.js';
import { dnsQueries } from './dns-queries.js';
import { dnsTcp } from './dns-tcp.js';
import type { Target } from './driver.js';
import { framesTarget } from './frames.js';
import { http } from './http.js';
import { nativeFrames } from './native-stage.js';
import { texts } from './texts.js';

export const TARGETS: readonly Target[] = [
  framesTarget(),
  nativeFrames,
  dnsQueries,
  dnsAnswers,
  dnsTcp,
  control,
  http,
  ...texts,
];
