export function api(page: string, root: string): string;
