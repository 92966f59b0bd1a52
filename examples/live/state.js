// @ts-check
/**
 * What both nodes have told, put together: all that the page shows, as one object, made anew for each frame.
 * @import { Message, Node } from './nodes.js'
 */
import { bins, Loads, TARGET_MS } from './loads.js';
import { ask } from './nodes.js';
import { Travels } from './travels.js';
import { nameOf, whyAway } from './words.js';

const WINDOW_MS = 30_000;
const EVENTS_KEPT = 50;
const SHOWN = 8;

/** @typedef {{ since: number, cause: string }} Outage */

export class State {
  loads = new Loads(WINDOW_MS);
  travels = new Travels();
  /** @type {{ id: number, node: string, event: string, text: string, at: number }[]} */
  #events = [];
  #lastId = 0;
  /** By node and part. @type {Map<string, Outage>} */
  #outages = new Map();
  /** What readyz said last. @type {Map<string, Record<string, string>>} */
  #health = new Map();
  /** @type {((node: string, message: Message) => void)[]} */
  #listeners = [];

  /** @param {(node: string, message: Message) => void} listener Returns what ends the listening. */
  listen(listener) {
    this.#listeners.push(listener);
    return () => void this.#listeners.splice(this.#listeners.indexOf(listener), 1);
  }

  /**
   * @param {string} node
   * @param {Message} message
   */
  hear(node, message) {
    if (message.type === 'load') this.#load(node, message);
    if (message.type === 'trained') {
      this.travels.saved(node, message.userId);
      this.#note(node, 'trained', `version ${message.version} from ${message.events} events`);
    }
    if (message.type === 'rolledBack') {
      this.travels.saved(node, message.userId.toLowerCase());
      this.#note(node, 'rolled back', `version ${message.version} is the latest`);
    }
    if (message.type === 'event') this.#event(node, message);
    for (const listener of [...this.#listeners]) listener(node, message);
  }

  /**
   * Asks a node how it is; the page shows a part as down if either this or its events say so. Of a node that hangs, what it
   * said last holds no longer than the patience with it.
   * @param {Node} node
   * @param {number} [patienceMs]
   */
  async check(node, patienceMs = 1000) {
    const { body } = await ask(node, '/readyz', undefined, patienceMs).catch(() => ({ body: {} }));
    const { postgres = 'unknown', redis = 'unknown', bus = 'unknown', changeFeed = 'unknown' } = body;
    this.#health.set(node.name, { postgres, redis, bus, 'change-feed': changeFeed });
  }

  /**
   * @param {Node[]} nodes
   * @param {{ redis: 'through' | 'cut' | 'none', traffic: boolean }} stack
   */
  snapshot(nodes, stack) {
    const now = Date.now();
    const { total, tiers } = this.loads.snapshot(now);
    return {
      now,
      ...stack,
      windowMs: WINDOW_MS,
      targetMs: TARGET_MS,
      bins,
      total,
      tiers,
      nodes: nodes.map((node) => this.#node(node, now)),
      travels: this.travels.newest(SHOWN),
      events: this.#events.slice(-SHOWN).reverse(),
    };
  }

  /** @param {Node} node @param {number} now */
  #node({ name, pid, running }, now) {
    const health = this.#health.get(name) ?? {};
    const parts = ['postgres', 'redis', 'bus', 'change-feed'].map((part) => {
      const outage = this.#outages.get(`${name} ${part}`);
      const state = outage === undefined ? (health[part] ?? 'unknown') : 'degraded';
      return { part, state, forMs: outage === undefined ? null : now - outage.since };
    });
    return { name, pid, running, ...this.loads.of(name), parts };
  }

  /** @param {string} node @param {Message} message */
  #load(node, { tier, milliseconds, stale, verifiedAgeMs }) {
    this.loads.add({ node, tier, milliseconds, stale, verifiedAgeMs, at: Date.now() });
  }

  /** @param {string} node @param {Message} message */
  #event(node, { event, detail, at }) {
    const part = `${node} ${detail.tier}`;
    if (event === 'invalidated') return this.travels.heard(node, detail, at);
    if (event === 'degraded') this.#outages.set(part, { since: at, cause: detail.cause });
    if (event === 'recovered') this.#outages.delete(part);
    /** @type {Record<string, string>} */
    const words = {
      degraded: whyAway(detail.cause ?? ''),
      recovered: `after ${Math.round(detail.afterMs)} ms`,
      corrupt: detail.reason,
    };
    const text = event in words ? `${nameOf(detail.tier)}: ${words[event]}` : detail.cause;
    this.#note(node, event, text);
  }

  /** @param {string} node @param {string} event @param {string} text */
  #note(node, event, text) {
    this.#events.push({ id: ++this.#lastId, node, event, text, at: Date.now() });
    if (this.#events.length > EVENTS_KEPT) this.#events.shift();
  }
}
