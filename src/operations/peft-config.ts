/**
 * adapter_config.json of Hugging Face PEFT, as far as it says what the tensors beside it compute. That is s·B·A·x, or the
 * config is refused: an adapter that would come to something else is not taken for one that does not.
 */
import { readFile } from 'node:fs/promises';
import { SafetensorsError } from './safetensors-header.js';

/** What PEFT puts before the name of a module in the model. */
export const ROOT = 'base_model.model.';

export type PeftConfig = Record<string, unknown>;

/** Settings with which a module computes something else, as of PEFT 0.21. Off they are false, null or absent. */
const OTHERWISE: Record<string, string> = {
  use_dora: 'DoRA scales the columns of the whole weight',
  lora_bias: 'B has a bias',
  use_qalora: 'QALoRA averages the input before A',
  use_bdlora: 'BD-LoRA stores blocks of A or B',
  kasa_config: 'KaSA has a diagonal between A and B, and changes the model',
  monteclora_config: 'MonteCLoRA draws samples around A',
  arrow_config: 'Arrow chooses among several adapters',
  alora_invocation_tokens: 'aLoRA leaves some tokens out',
};

/** Initial weights that were taken out of the model: s·B·A is to be added to what was left of it. */
const OUT_OF_MODEL = /^(pissa|olora|corda|lora_ga|loftq)/i;

export async function readConfig(path: string): Promise<PeftConfig> {
  let config: unknown;
  try {
    config = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new SafetensorsError(`${path} ${missing ? 'is missing: alpha is in it' : 'is no JSON'}`, { cause });
  }
  if (!isObject(config)) throw new SafetensorsError(`${path} holds no object`);
  refuseOtherwise(config, path);
  return config;
}

function refuseOtherwise(config: PeftConfig, path: string): void {
  const { peft_type: type = 'LORA', init_lora_weights: start } = config;
  if (type !== 'LORA') throw new SafetensorsError(`${path} is of another kind of adapter than LoRA`);
  for (const [setting, why] of Object.entries(OTHERWISE)) {
    if (isOff(config[setting])) continue;
    throw new SafetensorsError(`${path} has ${setting}: ${why}, and an adapter is s·B·A alone; train it without`);
  }
  if (typeof start !== 'string' || !OUT_OF_MODEL.test(start)) return;
  throw new SafetensorsError(
    `${path} has init_lora_weights ${JSON.stringify(start)}: A and B were taken out of the model, which is another one since; save it ` +
      'as LoRA, in PEFT by path_initial_model_for_weight_conversion',
  );
}

/** What B·A·x is multiplied with. */
export function scalingOf(config: PeftConfig, prefix: string, rank: number): number {
  const name = prefix.startsWith(ROOT) ? prefix.slice(ROOT.length) : prefix;
  const { r, lora_alpha: alpha } = { ...config, ...ofModule(config, name) };
  if (r !== rank) throw new SafetensorsError(`the config says r is ${JSON.stringify(r)}, and A has ${rank} rows`);
  if (typeof alpha !== 'number') throw new SafetensorsError('the config has no number lora_alpha');
  const { use_rslora: stable } = config;
  if (!isOff(stable) && stable !== true) throw new SafetensorsError('the config has a use_rslora that is no boolean');
  return alpha / (stable === true ? Math.sqrt(rank) : rank);
}

function ofModule(config: PeftConfig, name: string): PeftConfig {
  const [r, alpha] = [patterned(config, 'rank_pattern', name), patterned(config, 'alpha_pattern', name)];
  return { ...(r !== undefined && { r }), ...(alpha !== undefined && { lora_alpha: alpha }) };
}

/** A setting of some modules, by the end of their names. PEFT takes any regular expression there, and the first that fits. */
function patterned(config: PeftConfig, setting: string, name: string): unknown {
  const patterns = config[setting] ?? {};
  if (!isObject(patterns)) throw new SafetensorsError(`the config has a ${setting} that is no object`);
  for (const pattern of Object.keys(patterns)) {
    if (/^\w+(\.\w+)*$/.test(pattern)) continue;
    throw new SafetensorsError(`the config has the pattern ${JSON.stringify(pattern)}: write names of modules instead`);
  }
  // As there: a dot fits any character.
  const fitting = Object.entries(patterns).filter(([pattern]) => new RegExp(`^(.*\\.)?(${pattern})$`).test(name));
  // JSON.parse puts names of digits before all others, wherever they stood.
  const unordered = fitting.find(([pattern]) => /^\d+$/.test(pattern));
  if (unordered !== undefined && fitting.some(([, value]) => value !== unordered[1])) {
    throw new SafetensorsError(`the config has several of ${setting} that fit ${JSON.stringify(name)}: leave one`);
  }
  return fitting[0]?.[1];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isOff(value: unknown): boolean {
  return value === undefined || value === null || value === false;
}
