import type { UserLoRAAdapter } from '../../src/adapter/adapter.js';

export interface Body {
  write: number;
  userTag: number;
  nameTag: number;
  exact: boolean;
}

export function bodyOf(userId: string, name: string, write: number): UserLoRAAdapter;
export function recordOf(userId: string, name: string, write: number): Buffer;
export function readBody(adapter: UserLoRAAdapter): Body;
export function tag(text: string): number;
