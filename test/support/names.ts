/** Names of what a run makes in servers that may be somebody else's: each tells the run, so that the run can remove it. */

/** Letters and digits only, so that it needs no quoting in SQL. */
export function databaseName(run: string, name: string): string {
  return `lora_test_${run}_${name}`;
}

/** What all Redis namespaces of a run begin with. */
export function namespacesOf(run: string): string {
  return `lora-test-${run}-`;
}
