/** What the global setup hands to every test file, through vitest's provide and inject. */
import type { NoRecipe, Recipe } from './servers/server.js';
import type { Template } from './template.js';

export interface ProvidedServers {
  /** Part of the name of everything this run makes in a server that outlives it. */
  readonly run: string;
  readonly postgres: {
    /** A database to connect to for creating others; nobody writes to it. */
    readonly url: string;
    /** The database with all migrations applied, from which test databases are cloned. */
    readonly template: Template;
    /** How to start a Postgres of one's own, or why that is not possible here. */
    readonly recipe: Recipe | NoRecipe;
  };
  readonly redis: {
    readonly url: string;
    readonly recipe: Recipe | NoRecipe;
  };
}

declare module 'vitest' {
  export interface ProvidedContext {
    servers: ProvidedServers;
  }
}
