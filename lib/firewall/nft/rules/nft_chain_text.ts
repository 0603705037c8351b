/** A chain of our own table, as text. Pure. */

/** A chain with its rules. */
export interface ChainText {
  readonly name: string;
  /** `type … hook … priority …; policy accept;` */
  readonly hook: string;
  readonly rules: readonly string[];
}

/** The chain without its rules, as lines of its table. */
export function emptyChain({ name, hook }: ChainText): string[] {
  return [`  chain ${name} {`, `    ${hook}`, `  }`];
}

/** The rules of a chain that is there, as lines of its table. */
export function chainRules({ name, rules }: Omit<ChainText, "hook">): string[] {
  return [
    `  chain ${name} {`,
    ...rules.map((rule) => `    ${rule}`),
    `  }`,
  ];
}
