/** The messages about one storage, out of all that the process sends, and the points that the list makes of them. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ChannelMessages } from '../storage/channels.js';
import type { LoRAStorage } from '../storage/lora-storage.js';
import type { Labels, Metric, Point, Sampled, Told } from './metric.js';
import { METRICS } from './metrics.js';

type Channel = keyof ChannelMessages;

/** Returns what ends it. */
export function listen<C extends Channel>(
  storage: LoRAStorage,
  channel: C,
  hear: (message: ChannelMessages[C]) => void,
): () => void {
  const name = `lora-store:${channel}`;
  const listener = (sent: unknown) => {
    const message = sent as ChannelMessages[C];
    if (message.storage === storage) hear(message);
  };
  subscribe(name, listener);
  return () => void unsubscribe(name, listener);
}

/** Records every point of the told metrics from now on. Returns what ends it. */
export function follow(storage: LoRAStorage, record: (metric: Told, point: Point) => void): () => void {
  const endings = METRICS.filter(isTold).flatMap((metric) =>
    (Object.entries(metric.on) as [Channel, (message: object) => readonly Point[]][]).map(([channel, measure]) =>
      listen(storage, channel, (message) => {
        for (const point of measure(message)) record(metric, point);
      }),
    ),
  );
  return () => {
    for (const end of endings) end();
  };
}

export function isTold(metric: Metric): metric is Told {
  return 'on' in metric;
}

export function isSampled(metric: Metric): metric is Sampled {
  return 'read' in metric;
}

/** Every combination of labels that a metric may have. */
export function combinations({ labels = {} }: Metric): Labels[] {
  return Object.entries(labels).reduce<Labels[]>(
    (sofar, [label, values]) => sofar.flatMap((each) => values.map((value) => ({ ...each, [label]: value }))),
    [{}],
  );
}
