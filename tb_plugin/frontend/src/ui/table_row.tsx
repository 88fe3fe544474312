import type { Cells } from "../model/cells";
import { findMarks } from "../model/search";
import { text } from "../model/report";
import { isVariable, labelOfNode, pathOfNode, type Tree } from "../model/tree";
import { Icon, SEVERITY_ICONS, STATUS_ICONS, UPDATED_ICONS } from "./icons";
import { Marked } from "./pieces";
import { ROW_HEIGHT } from "./virtual";

interface Props {
  tree: Tree;
  node: number;
  index: number;
  level: number;
  position: number;
  siblings: number;
  cells: Cells;
  /** Whether there are norms to show. */
  measured: boolean;
  query: string;
  grouped: boolean;
  /** Null for a variable. */
  open: boolean | null;
  selected: boolean;
  active: boolean;
  onToggle: (layer: number) => void;
  onSelect: (node: number) => void;
}

export function TableRow(props: Props) {
  const { tree, node, index, cells, open } = props;
  const shift = Number(tree.proof.present);
  const severe = cells.severity === "error" || cells.severity === "warning";
  const kinds = ["row", open === null ? "variable" : "layer", severe ? `severity-${cells.severity}` : "", props.selected ? "selected" : ""];
  return (
    <div
      role="row"
      class={kinds.join(" ")}
      style={{ top: `${index * ROW_HEIGHT}px` }}
      tabIndex={props.active ? 0 : -1}
      aria-rowindex={index + 2}
      aria-level={props.level}
      aria-posinset={props.position}
      aria-setsize={props.siblings}
      aria-expanded={open ?? undefined}
      aria-selected={props.selected}
      onClick={() => props.onSelect(node)}
      onDblClick={() => open !== null && props.onToggle(node)}
    >
      <NameCell {...props} />
      <div role="gridcell" class="cell cell-status" aria-colindex={2} title={cells.status}>
        <Icon name={severe ? SEVERITY_ICONS[cells.severity] : STATUS_ICONS[cells.kind]} /> {cells.status}
      </div>
      <WordCell name="flag" column={3} word={cells.flag} />
      <WordCell name="expected" column={4} word={cells.expected} />
      <WordCell name="gradient" column={5} word={cells.gradient} />
      <div role="gridcell" class={`cell cell-updated ${dim(cells.updated)}`} aria-colindex={6}>
        {open === null && <Icon name={UPDATED_ICONS.get(cells.updated) ?? "question"} size={14} />} {cells.updated}
      </div>
      {tree.proof.present && (
        <div role="gridcell" class={`cell cell-changed ${cells.contradicts ? "contradicts" : dim(cells.changed)}`} aria-colindex={7} title={cells.changedTitle}>
          {cells.contradicts && <Icon name="warning" size={14} />} {cells.changed}
          {cells.contradicts && <span class="offscreen">, against the report</span>}
        </div>
      )}
      <WordCell name="slots" column={7 + shift} word={cells.slots} />
      <WordCell name="device" column={8 + shift} word={cells.device} />
      {props.measured && (
        <div role="gridcell" class="cell cell-measured" aria-colindex={9 + shift}>
          <span class={dim(cells.gradientNorm)} title={cells.gradientTitle || undefined}>
            {cells.gradientNorm}
            {cells.gradientTitle && <span class="offscreen">, {cells.gradientTitle}</span>}
          </span>
          <span class={dim(cells.updateNorm)}>{cells.updateNorm}</span>
        </div>
      )}
    </div>
  );
}

const FAINT = new Set(["–", "no", "none", "frozen", "unknown"]);
const dim = (word: string): string => (FAINT.has(word) ? "dim" : "");

function WordCell({ name, column, word }: { name: string; column: number; word: string }) {
  return (
    <div role="gridcell" class={`cell cell-${name} ${dim(word)}`} aria-colindex={column} title={word}>
      {word}
    </div>
  );
}

function NameCell({ tree, node, level, query, grouped, open, onToggle }: Props) {
  const path = pathOfNode(tree, node);
  const label = grouped ? labelOfNode(tree, node) : path;
  const toggle = (event: Event) => {
    event.stopPropagation();
    onToggle(node);
  };
  return (
    <div role="rowheader" class="cell cell-name" aria-colindex={1} style={{ paddingLeft: `${grouped ? 8 + (level - 1) * 16 : 16}px` }} title={path || label}>
      {open !== null ? (
        <span class={open ? "twist open" : "twist"} onClick={toggle}>
          <Icon name="chevron" size={14} />
        </span>
      ) : (
        grouped && <span class="twist" />
      )}
      <span class="label">
        <Name label={label} path={path} query={query} split={!grouped} />
      </span>
      {open !== null && <Aside tree={tree} node={node} />}
    </div>
  );
}

/** In the flat list a path shows its last part strong, and loses its beginning first where there is no room. */
function Name({ label, path, query, split }: { label: string; path: string; query: string; split: boolean }) {
  if (!split) return <Marked text={label || "(no name)"} marks={findMarks(query, label)} />;
  const cut = path.lastIndexOf("/") + 1;
  return (
    <>
      <span class="prefix">
        <Marked text={path.slice(0, cut)} marks={findMarks(query, path.slice(0, cut))} />
      </span>
      <Marked text={path.slice(cut) || "(no name)"} marks={findMarks(query, path.slice(cut))} />
    </>
  );
}

function Aside({ tree, node }: { tree: Tree; node: number }) {
  if (isVariable(tree, node)) return null;
  const kind = node === tree.outside ? null : text(tree.report, tree.report.wire.layers.class_name[node] as number);
  return kind ? <span class="class-name">{kind}</span> : null;
}
