/** How the report looks, in both themes and from a phone to a desk. */
export const style = `
:root {
  color-scheme: light dark;
  --page: #fcfcfb; --ink: #1c1d20; --soft: #5c6068; --line: #e3e3df; --faint: #f2f2ef; --axis: #b9bac0;
  --blue: #2563c9; --teal: #0c7f83; --violet: #7347cf; --green: #2f7d3b;
  --orange: #c2590e; --rose: #c0365f; --olive: #76700f; --brown: #8a5a33; --slate: #5b6b80; --plum: #96409b;
  --good: #1f7a3a; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15171a; --ink: #e8e8e4; --soft: #a0a5ae; --line: #2c3036; --faint: #1c1f23; --axis: #565c66;
    --blue: #74a9ff; --teal: #45c4c0; --violet: #b494ff; --green: #7fcb86;
    --orange: #f39a57; --rose: #f584a4; --olive: #cbc25a; --brown: #d3a57a; --slate: #9fb0c6; --plum: #dc93e0;
    --good: #6fcf87; --bad: #ff8a80;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
}
header, main, footer { max-width: 54rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3.5rem; }
footer { padding-bottom: 4rem; color: var(--soft); font-size: 0.875rem; }
h1 { margin: 0 0 0.5rem; font-size: clamp(1.6rem, 5vw, 2.1rem); line-height: 1.2; letter-spacing: -0.02em; font-weight: 650; }
h2 { margin: 4rem 0 0.25rem; font-size: 1.35rem; line-height: 1.3; letter-spacing: -0.01em; font-weight: 650; }
h3 { margin: 2.25rem 0 0.5rem; font-size: 1rem; font-weight: 650; }
p { margin: 0.5rem 0; max-width: 42rem; }
a { color: inherit; text-decoration-color: var(--axis); text-underline-offset: 0.2em; }
a:hover { text-decoration-color: currentColor; }
:focus-visible { outline: 2px solid var(--blue); outline-offset: 3px; border-radius: 2px; }
.soft { color: var(--soft); }
.verdict { margin: 1.5rem 0 0; font-size: 1.15rem; }
.notice { padding: 0.75rem 1rem; border-left: 3px solid var(--orange); background: var(--faint); }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 1.5rem 0 0; padding: 0; list-style: none; font-size: 0.9375rem; }
.notes { max-width: 42rem; padding-left: 1.1rem; color: var(--soft); font-size: 0.9375rem; }
.notes li { margin: 0.25rem 0; }

figure { margin: 1.25rem 0 2rem; }
figcaption { margin-bottom: 0.75rem; font-size: 0.9375rem; font-weight: 600; }
figcaption .soft { display: block; font-size: 0.875rem; font-weight: 400; }
figure svg { display: block; width: 100%; height: auto; overflow: visible; }
svg { font-family: inherit; font-variant-numeric: tabular-nums; }
.key { display: flex; flex-wrap: wrap; gap: 0.1rem 1rem; margin: 0 0 0.5rem; padding: 0; list-style: none; font-size: 0.8125rem; }
.key li::before { content: ""; display: inline-block; width: 0.9rem; height: 0.2rem; margin-right: 0.4rem; vertical-align: middle; background: var(--colour); }
.narrow { display: none; }
@media (max-width: 46rem) {
  .wide { display: none; }
  div.narrow { display: block; max-width: 32rem; }
  .key.narrow { display: flex; }
}

/* The shade at the right says that there is more to scroll to; at the end, what moves with the content covers it. */
.table {
  overflow-x: auto; margin: 1rem 0;
  background:
    linear-gradient(to left, var(--page) 50%, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--line), transparent) right / 1.25rem 100% no-repeat scroll;
}
table { border-collapse: collapse; width: 100%; font-size: 0.9375rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 0.5rem; color: var(--soft); font-size: 0.875rem; }
th, td { padding: 0.45rem 0.75rem 0.45rem 0; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-weight: 500; font-size: 0.8125rem; white-space: nowrap; }
tbody th { font-weight: 500; }
.table tbody th { position: sticky; left: 0; background: var(--page); }
.number { text-align: right; white-space: nowrap; }
.spread { display: block; color: var(--soft); font-size: 0.8125rem; }
.why { color: var(--soft); font-size: 0.875rem; }
.met, .short, .open { white-space: nowrap; font-weight: 600; }
.met { color: var(--good); } .short { color: var(--bad); } .open { color: var(--soft); font-weight: 500; }
details { margin: 0.75rem 0; font-size: 0.9375rem; }
summary { cursor: pointer; color: var(--soft); font-size: 0.875rem; }

/* A row of the targets becomes a card where seven columns do not fit. */
@media (max-width: 46rem) {
  .targets thead { position: absolute; clip-path: inset(50%); }
  .targets tr { display: grid; grid-template-columns: 1fr auto auto; gap: 0 1rem; padding: 0.6rem 0; border-bottom: 1px solid var(--line); }
  .targets th, .targets td { border: 0; padding: 0; }
  .targets tbody th { grid-column: 1 / -1; }
  .targets .outcome { justify-self: start; grid-row: 2; grid-column: 1; }
  .targets .spread { display: block; color: var(--soft); font-size: 0.8125rem; }
.why { grid-column: 1 / -1; }
  .targets .why:empty { display: none; }
}
@media (max-width: 46rem) {
  .table table { font-size: 0.875rem; }
}
@media print {
  body { font-size: 11pt; }
  figure, tr { break-inside: avoid; }
}
`;
