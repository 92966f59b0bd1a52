/** The slot of a key as a Redis Cluster has it, 0 to 16383. The package brings no types. */
declare module 'cluster-key-slot' {
  export default function slotOf(key: string): number;
}
