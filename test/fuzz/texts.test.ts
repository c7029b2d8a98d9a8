import { testTargets } from './short.js';
import { TEXTS } from './targets.js';

testTargets(TEXTS);
