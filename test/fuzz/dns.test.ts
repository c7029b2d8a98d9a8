import { testTargets } from './short.js';
import { DNS } from './targets.js';

testTargets(DNS);
