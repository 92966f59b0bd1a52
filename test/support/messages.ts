/** What is said of one storage on the package's channels while a test goes on. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { onTestFinished } from 'vitest';
import type { ChannelMessages } from '../../src/storage/channels.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';

/** The messages so far, in their order; more are added until the test ends. `heard` is called for each. */
export function messagesOf<C extends keyof ChannelMessages>(
  node: LoRAStorage,
  channel: C,
  heard: (message: ChannelMessages[C]) => void = () => undefined,
): ChannelMessages[C][] {
  const messages: ChannelMessages[C][] = [];
  const listener = (sent: unknown) => {
    const message = sent as ChannelMessages[C];
    if (message.storage !== node) return;
    messages.push(message);
    heard(message);
  };
  subscribe(`lora-store:${channel}`, listener);
  onTestFinished(() => void unsubscribe(`lora-store:${channel}`, listener));
  return messages;
}
