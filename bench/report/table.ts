/** Tables of the page: a caption, a header for each column and each row, and a box that scrolls where a phone is narrower. */
import { type Html, html, nothing } from './html.js';

export interface Column {
  readonly heading: string;
  /** Digits stand right, under each other. */
  readonly numeric?: boolean;
}

/** The first cell of a row is its header. */
export function table(
  caption: string,
  columns: readonly Column[],
  rows: readonly (readonly (string | Html)[])[],
): Html {
  const head = columns.map(({ heading, numeric }) => html`<th scope="col"${numericClass(numeric)}>${heading}</th>`);
  return html`<div class="table" role="region" aria-label="${caption}" tabindex="0"><table>
<caption>${caption}</caption>
<thead><tr>${head}</tr></thead>
<tbody>
${rows.map((cells) => html`<tr>${cells.map((content, index) => cell(content, index, columns[index]?.numeric))}</tr>`)}
</tbody></table></div>`;
}

function cell(content: string | Html, index: number, numeric: boolean | undefined): Html {
  if (index === 0) return html`<th scope="row">${content}</th>`;
  return html`<td${numericClass(numeric)}>${content}</td>`;
}

function numericClass(numeric: boolean | undefined): Html {
  return numeric ? html` class="number"` : nothing;
}
