import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { readCells } from "../model/cells";
import type { Norms } from "../model/rollup";
import type { Rows } from "../model/rows";
import { DEFAULT_SORT, type Sort, type SortKey } from "../model/sort";
import { isVariable, type Tree } from "../model/tree";
import { findTyped, readKey } from "../model/treegrid";
import { Icon } from "./icons";
import { TableRow } from "./table_row";
import { ROW_HEIGHT, useVirtual } from "./virtual";

const HEAD_HEIGHT = 32;
const TYPING_MS = 800;

interface Column {
  name: string;
  label: string;
  key: SortKey;
  title: string;
  /** Width in pixels at least, and its share of what is left. */
  least: number;
  share: number;
}

const COLUMNS: readonly Column[] = [
  { name: "name", label: "Layer / variable", key: "name", title: "The layer tree with its variables", least: 190, share: 3 },
  { name: "status", label: "Status", key: "mismatch", title: "What it does, and whether a finding names it; sorts mismatches first", least: 178, share: 0.8 },
  { name: "flag", label: "Flag", key: "flag", title: "The variable's own trainable flag", least: 78, share: 0.5 },
  { name: "expected", label: "Expected", key: "expected", title: "Would it train if the model were compiled now, by the flags alone", least: 72, share: 0.5 },
  { name: "gradient", label: "Gradient", key: "gradient", title: "What reaches it in the current trace", least: 72, share: 0.5 },
  { name: "updated", label: "Updated", key: "updated", title: "Does the compiled step write it with a value that depends on its gradient", least: 72, share: 0.5 },
  { name: "changed", label: "Changed", key: "changed", title: "Seen in the values themselves: did its bits change since the look before", least: 90, share: 0.5 },
  { name: "slots", label: "Slots", key: "slots", title: "Optimizer variables that belong to it", least: 54, share: 0.4 },
  { name: "device", label: "Device", key: "device", title: "Where the variable lives, and so where its updates run", least: 66, share: 0.5 },
  { name: "measured", label: "Measured gradient and update norm", key: "measured", title: "Norm of the gradient |g| and of the update |Δ|: the newest sample, or those of the report itself where it is an older one", least: 120, share: 0 },
];

/** Columns that have something to show. */
function pickColumns(proven: boolean, measured: boolean): readonly Column[] {
  return COLUMNS.filter(({ name }) => (name !== "changed" || proven) && (name !== "measured" || measured));
}

const widthOf = ({ least, share }: Column): string => (share > 0 ? `minmax(${least}px, ${share}fr)` : `${least}px`);

interface Props {
  tree: Tree;
  rows: Rows;
  norms: Norms;
  query: string;
  grouped: boolean;
  sort: Sort;
  selected: number;
  isOpen: (layer: number) => boolean;
  onSort: (sort: Sort) => void;
  onToggle: (layer: number) => void;
  onSelect: (node: number) => void;
}

/** The tree grid: of its rows only those in view are in the document. */
export function Table(props: Props) {
  const { tree, rows, selected, isOpen } = props;
  const columns = useMemo(() => pickColumns(tree.proof.present, props.norms.present), [tree.proof.present, props.norms.present]);
  const wide = { "--wide": columns.map(widthOf).join(" "), "--least": `${columns.reduce((sum, column) => sum + column.least, 0)}px` };
  const { ref, onScroll, first, last, reveal, page } = useVirtual(rows.nodes.length, ROW_HEIGHT, HEAD_HEIGHT);
  const [activeNode, setActiveNode] = useState(-1);
  const wantsFocus = useRef(false);
  const typed = useRef({ text: "", time: 0 });
  const active = Math.max(0, rows.indexOf(activeNode));

  const activate = (index: number) => {
    setActiveNode(rows.nodes[index] ?? -1);
    wantsFocus.current = true;
    reveal(index);
  };
  useLayoutEffect(() => {
    if (!wantsFocus.current) return;
    wantsFocus.current = false;
    ref.current?.querySelector<HTMLElement>('[role="row"][tabindex="0"]')?.focus({ preventScroll: true });
  });
  useLayoutEffect(() => {
    const index = rows.indexOf(selected);
    if (index < 0) return;
    setActiveNode(selected);
    reveal(index, "middle");
  }, [selected]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || (event.target as Element).getAttribute("role") !== "row") return;
    const command = readKey(event.key, active, rows, tree, isOpen, page);
    if (command === null) {
      if (event.key.length === 1 && !"/?[]".includes(event.key)) jumpTo(event.key);
      return;
    }
    event.preventDefault();
    if ("go" in command) activate(command.go);
    else if ("toggle" in command) props.onToggle(command.toggle);
    else props.onSelect(rows.nodes[command.choose] as number);
  };
  const jumpTo = (letter: string) => {
    const now = performance.now();
    const text = now - typed.current.time < TYPING_MS ? typed.current.text + letter : letter;
    typed.current = { text, time: now };
    const found = findTyped(text, active, rows, tree);
    if (found >= 0) activate(found);
  };

  const drawn: number[] = [];
  for (let i = first; i < last; i++) drawn.push(i);
  if (rows.nodes.length > 0 && (active < first || active >= last)) drawn.push(active);
  return (
    <div
      class="table"
      ref={ref}
      style={wide}
      role="treegrid"
      aria-label="Layers and variables"
      aria-rowcount={rows.nodes.length + 1}
      aria-colcount={columns.length}
      onScroll={onScroll}
      onKeyDown={onKeyDown}
    >
      <Headings columns={columns} sort={props.sort} onSort={props.onSort} />
      <div role="rowgroup" class="rows" style={{ height: `${rows.nodes.length * ROW_HEIGHT}px` }}>
        {drawn.map((i) => {
          const node = rows.nodes[i] as number;
          return (
            <TableRow
              key={node}
              tree={tree}
              node={node}
              index={i}
              level={rows.level[i] as number}
              position={rows.position[i] as number}
              siblings={rows.siblings[i] as number}
              cells={readCells(tree, node, props.norms)}
              measured={props.norms.present}
              query={props.query}
              grouped={props.grouped}
              open={isVariable(tree, node) ? null : isOpen(node)}
              selected={node === selected}
              active={i === active}
              onToggle={props.onToggle}
              onSelect={(chosen) => {
                setActiveNode(chosen);
                props.onSelect(chosen);
              }}
            />
          );
        })}
      </div>
    </div>
  );
}

/** Above each of the two numbers its name; a screen reader hears the words. */
function MeasuredLabel({ label }: { label: string }) {
  return (
    <>
      <span class="offscreen">{label}</span>
      <span aria-hidden="true">|g|</span>
      <span aria-hidden="true">|Δ|</span>
    </>
  );
}

function Headings({ columns, sort, onSort }: { columns: readonly Column[]; sort: Sort; onSort: (sort: Sort) => void }) {
  const turn = (key: SortKey) => {
    if (sort.key !== key) onSort({ key, descending: key !== "name" && key !== "device" });
    else if (key !== DEFAULT_SORT.key && sort.descending === (key === "name" || key === "device")) onSort(DEFAULT_SORT);
    else onSort({ key, descending: !sort.descending });
  };
  return (
    <div role="rowgroup" class="headings">
      <div role="row" aria-rowindex={1} class="row">
        {columns.map((column, i) => (
          <div
            key={column.name}
            role="columnheader"
            class={`cell cell-${column.name}`}
            aria-colindex={i + 1}
            aria-sort={sort.key === column.key ? (sort.descending ? "descending" : "ascending") : undefined}
          >
            <button type="button" title={column.title} onClick={() => turn(column.key)}>
              {column.name === "measured" ? <MeasuredLabel label={column.label} /> : column.label}
              {sort.key === column.key && (
                <span class={sort.descending ? "arrow down" : "arrow up"}>
                  <Icon name="chevron" size={12} />
                </span>
              )}
            </button>
          </div>
        ))}
      </div>
    </div>
  );
}
