/** `lora-store stats`: how much is stored. */
import type { Command } from 'commander';
import { acting, addCommand } from '../command.js';
import { EXIT } from '../exit.js';
import { bytes, plural } from '../output.js';

export function addStats(program: Command): void {
  addCommand(
    program,
    'stats',
    'print how many adapters are stored, of how many users, and their bytes',
    'stats',
  ).action(
    acting(async (context) => {
      const storage = await context.storage({ redis: false });
      const stats = await storage.getStorageStats();
      const { totalAdapters, uniqueUsers, totalBytes, avgBytes } = stats;
      context.out.result(stats, () =>
        totalAdapters === 0
          ? 'no adapters are stored'
          : `${plural(totalAdapters, 'version')} of ${plural(uniqueUsers, 'user')}: ${bytes(totalBytes)}, ${bytes(avgBytes)} each`,
      );
      return EXIT.done;
    }),
  );
}
