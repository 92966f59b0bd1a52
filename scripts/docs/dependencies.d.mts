export interface Dependency {
  readonly name: string;
  readonly version: string;
  readonly hasInstallScript: boolean;
}

export function runtimeDependencies(root: string): Dependency[];
