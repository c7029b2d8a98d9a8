import { testTargets } from './short.js';
import { SERVICES } from './targets.js';

testTargets(SERVICES);
