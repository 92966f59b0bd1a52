/** What a run writes: its figures, the settings they were taken under, and how each table came about. */
import type { CaseResult, Environment } from '../harness/results.js';
import type { Constants } from './constants.js';

export interface ScaleResults {
  readonly format: 1;
  /** ISO 8601, when the run began. */
  readonly date: string;
  readonly quick: boolean;
  readonly seconds: number;
  readonly command: string;
  readonly environment: Environment;
  /** Of the servers, beyond what the environment says of them. */
  readonly settings: Readonly<Record<string, string>>;
  readonly users: number;
  readonly full: number;
  /** Latencies, and what was seen that is no constant. */
  readonly loads: CaseResult;
  /** What could not be measured here is missing. */
  readonly constants: Partial<Constants>;
}
