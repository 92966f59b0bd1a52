// @ts-check
/** npm run monitoring: writes rules.json and dashboard.json beside itself. */
import { writeFileSync } from 'node:fs';
import { dashboard } from './dashboard.js';
import { rules } from './rules.js';

for (const [name, content] of Object.entries({ rules, dashboard })) {
  writeFileSync(new URL(`${name}.json`, import.meta.url), `${JSON.stringify(content, null, 2)}\n`);
}
