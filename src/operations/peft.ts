/**
 * Adapters as Hugging Face PEFT saves them: adapter_model.safetensors with `<module>.lora_A.weight` [r × in] and
 * `<module>.lora_B.weight` [out × r], and adapter_config.json beside it. A is our base layer, B our user layer.
 */
import { lstat, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { UserLoRAAdapter } from '../adapter/adapter.js';
import type { AdapterShape } from '../adapter/matrix.js';
import { parseUserId } from '../adapter/user-id.js';
import { InvalidAdapterError } from '../errors.js';
import { readIfAny, writeDurably } from './durable.js';
import { ROOT, readConfig, scalingOf } from './peft-config.js';
import { encodeSafetensors, SafetensorsFile } from './safetensors.js';
import { SafetensorsError, type Tensor } from './safetensors-header.js';
import { refuseTaken } from './workplace.js';

const A = '.lora_A.weight';
const B = '.lora_B.weight';
const ITERATIONS = 'training_iterations';

export function isSafetensors(path: string): boolean {
  return path.endsWith('.safetensors');
}

export function configBeside(path: string): string {
  return join(dirname(path), 'adapter_config.json');
}

/** module: which one, where there are several; with or without 'base_model.model.'. */
export async function readPeft(path: string, userId: string, module?: string): Promise<UserLoRAAdapter> {
  const config = await readConfig(configBeside(path));
  const file = await SafetensorsFile.open(path);
  try {
    const { tensors, metadata } = file.header;
    const prefix = chooseModule([...tensors.keys()], module);
    const [rank, inputDim] = matrixOf(prefix + A, tensors);
    const [outputDim, columns] = matrixOf(prefix + B, tensors);
    if (columns !== rank) throw new SafetensorsError(`${prefix}: A has rank ${rank}, and B ${columns}`);
    const alpha = rank * scalingOf(config, prefix, rank);
    const [base, user] = [await file.read(prefix + A), await file.read(prefix + B)];
    const adapter = adapterOf(userId, { rank, inputDim, outputDim, alpha }, base, user);
    adapter.trainingIterations = iterationsOf(metadata.get(ITERATIONS));
    return adapter;
  } finally {
    await file.close();
  }
}

/** Of what the files hold: where no adapter is like that, they are at fault, and not whoever names them. */
function adapterOf(userId: string, shape: AdapterShape, base: Float32Array, user: Float32Array): UserLoRAAdapter {
  const id = parseUserId(userId);
  try {
    const adapter = new UserLoRAAdapter(id, shape);
    adapter.updateWeights((ofBase, ofUser) => {
      ofBase.set(base);
      ofUser.set(user);
    });
    return adapter;
  } catch (cause) {
    if (!(cause instanceof InvalidAdapterError)) throw cause;
    throw new SafetensorsError(`no adapter can be made of the file and its config: ${cause.message}`, { cause });
  }
}

/** Both files or neither. Refuses to write over what is there. */
export async function writePeft(path: string, adapter: UserLoRAAdapter, module: string): Promise<void> {
  const name = module.startsWith(ROOT) ? module.slice(ROOT.length) : module;
  const { rank, inputDim, outputDim, scalingFactor, trainingIterations } = adapter;
  const settings = {
    ...{ peft_type: 'LORA', task_type: null, base_model_name_or_path: null, inference_mode: true },
    ...{ r: rank, lora_alpha: rank * scalingFactor, use_rslora: false, use_dora: false },
    ...{ target_modules: [name], bias: 'none', lora_dropout: 0, fan_in_fan_out: false, init_lora_weights: true },
  };
  const tensors = [
    { name: ROOT + name + A, shape: [rank, inputDim], data: Float32Array.from(adapter.baseLayerWeights.data) },
    { name: ROOT + name + B, shape: [outputDim, rank], data: Float32Array.from(adapter.userLayerWeights.data) },
  ];
  const config = `${JSON.stringify(settings, undefined, 2)}\n`;
  await writeBoth(path, config, encodeSafetensors(tensors, { format: 'pt', [ITERATIONS]: String(trainingIterations) }));
}

/** The weights come last: where they are, the config is. A death in between leaves a config that the same call takes for its own. */
async function writeBoth(path: string, config: string, weights: Buffer): Promise<void> {
  await refuseTaken(path);
  const beside = configBeside(path);
  const there = (await readIfAny(beside).catch(() => undefined)) === config;
  if (!there) await refuseTaken(beside);
  await writeDurably(beside, config);
  try {
    await writeDurably(path, weights);
  } catch (error) {
    // They may be there, and only not known to last: then so is the config.
    const without = !there && (await lstat(path).catch(() => undefined)) === undefined;
    if (without) await rm(beside, { force: true }).catch(() => undefined);
    throw error;
  }
}

/** The prefix of the module's tensors. */
function chooseModule(names: readonly string[], module: string | undefined): string {
  const all = names.filter((name) => name.endsWith(A)).map((name) => name.slice(0, -A.length));
  const fitting = module === undefined ? all : all.filter((prefix) => prefix === module || prefix === ROOT + module);
  const [prefix, another] = fitting;
  if (prefix === undefined || another !== undefined) {
    const listed = all
      .slice(0, 20)
      .map((one) => JSON.stringify(one))
      .join(', ');
    const what = all.length === 0 ? `no tensor is named *${A}` : `choose one with --module: ${listed}`;
    throw new SafetensorsError(all.length > 20 ? `${what} and ${all.length - 20} more` : what);
  }
  refuseBeside(prefix, names, all);
  return prefix;
}

/** What was trained of this module beside A and B: without it the adapter would be another one. */
function refuseBeside(prefix: string, names: readonly string[], modules: readonly string[]): void {
  const inside = modules.filter((other) => other.startsWith(`${prefix}.`));
  const more = names.find(
    (name) =>
      name.startsWith(`${prefix}.`) &&
      name !== prefix + A &&
      name !== prefix + B &&
      !inside.some((other) => name.startsWith(`${other}.`)),
  );
  if (more === undefined) return;
  throw new SafetensorsError(
    `tensor ${JSON.stringify(more)} has no place in an adapter of A and B alone: ${mendOf(more.slice(prefix.length))}`,
  );
}

function mendOf(rest: string): string {
  if (rest.startsWith('.lora_') && !rest.endsWith('bias')) return 'it is of another kind of adapter than LoRA';
  if (rest.startsWith('.lora_')) return "it is a bias of B's: train with lora_bias=False";
  const save = 'put it into the model itself, and save the file without it';
  if (rest.endsWith('bias')) return `it is the module's bias, trained as well: train with bias='none', or ${save}`;
  return `it is of the module itself, saved whole: leave that out of modules_to_save, or ${save}`;
}

function matrixOf(name: string, tensors: ReadonlyMap<string, Tensor>): [number, number] {
  const { shape } = tensors.get(name) ?? {};
  const [rows = 0, columns = 0] = shape ?? [];
  if (shape?.length === 2 && rows > 0 && columns > 0) return [rows, columns];
  throw new SafetensorsError(`tensor ${JSON.stringify(name)} is ${shape === undefined ? 'missing' : 'no matrix'}`);
}

function iterationsOf(text = '0'): number {
  const iterations = Number(text);
  return /^\d+$/.test(text) && iterations < 2 ** 31 ? iterations : 0;
}
