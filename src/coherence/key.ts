/** Which adapter: the pair every tier, message and floor is keyed by. */
export interface Key {
  /** Canonical lower case. */
  readonly userId: string;
  readonly adapterName: string;
  /** Both in one string. A user id has a fixed length, so no two pairs share one. */
  readonly id: string;
}

export function keyOf(userId: string, adapterName: string): Key {
  return { userId, adapterName, id: `${userId}/${adapterName}` };
}
