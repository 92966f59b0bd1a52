/** A page of Markdown as a reader uses it: its fenced blocks in order, and what each says it prints. */

export interface Block {
  /** Path of the page from the root of the project. */
  readonly page: string;
  /** Of the opening fence, from 1. */
  readonly line: number;
  /** First word after the fence; empty where there is none. */
  readonly language: string;
  /** The rest of what stands behind the fence. */
  readonly info: string;
  readonly code: string;
  /** Between the block before, or the top of the page, and this one. */
  readonly prose: string;
}

/** Blocks inside of lists lose their indentation. An open fence is an error: nobody knows what it would have held. */
export function blocksOf(page: string, text: string): Block[] {
  const blocks: Block[] = [];
  let prose: string[] = [];
  let open: { fence: RegExpExecArray; line: number; code: string[] } | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    if (open === undefined) {
      const fence = /^(\s*)(`{3,}|~{3,})\s*(\S*)\s*(.*)$/.exec(line);
      if (fence === null) prose.push(line);
      else open = { fence, line: index + 1, code: [] };
      continue;
    }
    const [, indent = '', marks = '', language = '', info = ''] = open.fence;
    if (!isClosing(line, marks)) {
      open.code.push(line.startsWith(indent) ? line.slice(indent.length) : line.trimStart());
      continue;
    }
    blocks.push({ page, line: open.line, language, info, code: `${open.code.join('\n')}\n`, prose: prose.join('\n') });
    prose = [];
    open = undefined;
  }
  if (open !== undefined) throw new Error(`${page}:${open.line}: this block is never closed`);
  return blocks;
}

function isClosing(line: string, marks: string): boolean {
  const rest = line.trim();
  return rest.length >= marks.length && rest === (marks[0] ?? '').repeat(rest.length);
}

/** `<!-- database: empty -->` on a page that makes its tables itself. */
export function beginsWithoutTables(text: string): boolean {
  return text.includes('<!-- database: empty -->');
}

/**
 * What a block prints, as its page has it: the comment behind each `console.log(...);`, or else the `text` block that
 * follows at once, or after a sentence that ends with a colon. Undefined: the page does not say.
 */
export function promisedOutput(block: Block, next: Block | undefined): string | undefined {
  const comments = [...block.code.matchAll(/\bconsole\.log\(.*\);? +\/\/ (.*)$/gm)].map(([, comment]) => comment);
  if (comments.length > 0 && /^[jt]s$/.test(block.language)) return `${comments.join('\n')}\n`;
  return next !== undefined && isOutput(next) ? next.code : undefined;
}

function isOutput(block: Block): boolean {
  return block.language === 'text' && /^[^#]*$/.test(block.prose) && /(^|:)$/.test(block.prose.trim());
}

/** `…` stands for whatever differs from run to run: within a line for any part of it, on a line of its own for whole lines. */
export function printsAs(promised: string, printed: string): boolean {
  const pattern = promised
    .trimEnd()
    .split('\n')
    .map((line) => (line.trim() === '…' ? '[\\s\\S]*' : line.trimEnd().split('…').map(literally).join('.*')))
    .join('\n');
  return new RegExp(`^${pattern}$`).test(printed.trimEnd().replace(/[ \t]+$/gm, ''));
}

function literally(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}
