/**
 * Spans of loads that asked more than memory, and of saves. Made when the call has its answer and dated back to its
 * beginning, in the context of its caller, so that a hit in memory makes none. They are named and labelled after
 * OpenTelemetry's conventions for database clients, and hold neither a user's id nor a message, which might.
 */
import { type Attributes, context, SpanKind, SpanStatusCode, type Tracer } from '@opentelemetry/api';
import type { Tier } from '../storage/events.js';
import type { LoRAStorage } from '../storage/lora-storage.js';
import { listen } from './follow.js';
import type { Labels } from './metric.js';

const TABLE = 'lora_adapters';
const SYSTEMS: Readonly<Record<Tier, string | undefined>> = {
  memory: undefined,
  redis: 'redis',
  postgres: 'postgresql',
};

interface Call {
  readonly operation: string;
  readonly outcome: string;
  readonly durationMs: number;
  readonly error: unknown;
  /** The furthest that was asked; undefined where that is not known. */
  readonly asked: Tier | undefined;
  readonly attributes: Attributes;
}

/** Returns what ends it. */
export function traceCalls(storage: LoRAStorage, tracer: Tracer, own: Labels): () => void {
  const endings = [
    listen(storage, 'load', ({ adapterName, tier, version, ...call }) => {
      if (call.asked === 'memory') return;
      const attributes = {
        'lora_store.adapter_name': adapterName,
        ...(tier && { 'lora_store.tier': tier }),
        ...(version && { 'lora_store.version': version }),
      };
      span(tracer, { ...call, operation: 'load', attributes: { ...own, ...attributes } });
    }),
    listen(storage, 'load-many', ({ keys, ...call }) => {
      if (call.asked === 'memory') return;
      span(tracer, { ...call, operation: 'load_many', attributes: { ...own, 'db.operation.batch.size': keys } });
    }),
    listen(storage, 'save', ({ adapterName, version, operation, ...call }) => {
      const attributes = {
        'lora_store.adapter_name': adapterName,
        ...(version && { 'lora_store.version': version }),
      };
      span(tracer, { ...call, operation, asked: 'postgres', attributes: { ...own, ...attributes } });
    }),
  ];
  return () => {
    for (const end of endings) end();
  };
}

function span(tracer: Tracer, { operation, outcome, durationMs, error, asked, attributes }: Call): void {
  const system = asked && SYSTEMS[asked];
  const endTime = Date.now();
  const span = tracer.startSpan(
    `${operation} ${TABLE}`,
    {
      kind: SpanKind.CLIENT,
      startTime: endTime - durationMs,
      attributes: {
        ...attributes,
        ...(system && { 'db.system.name': system }),
        ...(asked === 'postgres' && { 'db.collection.name': TABLE }),
        'db.operation.name': operation,
        'lora_store.outcome': outcome,
      },
    },
    context.active(),
  );
  if (error !== undefined && isFailure(outcome)) {
    span.setAttribute('error.type', errorType(error));
    span.setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end(endTime);
}

/** That something is not there is an answer; that nobody wants it any more is the caller's doing. */
function isFailure(outcome: string): boolean {
  return outcome !== 'absent' && outcome !== 'aborted';
}

/** The stable code where there is one, else the class. */
function errorType(error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
